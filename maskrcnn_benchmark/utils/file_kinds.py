"""What a file is, by its first bytes: the tables of a machine that say so by endings differ."""

import os

_HEAD = 4096
# Of the most usual containers, at the start of the file.
_VIDEO_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: .wmv
    b"\x00\x00\x01\xba",  # MPEG program stream: .mpg, .vob
    b"\x00\x00\x01\xb3",  # MPEG video alone
    b"FLV\x01",
    b".RMF",
    b"\x06\x0e+4\x02\x05\x01\x01",  # MXF
    b"\x1f\x07\x00",  # DV
    b"YUV4MPEG2",
    b"DKIF",  # IVF
    b"nut/multimedia",
    b"\xb7\xd8\x00 7I\xda\x11",  # WTV
)
_PICTURE_STARTS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n",
    b"GIF8",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  ",
    b"\x00\x00\x01\x00",
)
_PICTURE_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis", b"M4A ", b"M4B ")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"pnot")
# (bytes of a packet, where in it the synchronisation byte is): transport streams, those of cameras (.mts, .m2ts) with a time in
# front, and with error correction.
_PACKETS = ((188, 0), (192, 4), (204, 0))

# Taken for videos by name: files that are not there, and those that their first bytes do not tell. Those of a transport stream
# (.ts may also be a program) are told by them.
VIDEO_ENDINGS = tuple(
    ".mp4 .m4v .mov .qt .avi .divx .mkv .webm .flv .f4v .wmv .asf .mpg .mpeg .mpe .m1v .m2v .vob .3gp .3g2 .ogv .mxf .dv .y4m "
    ".ivf .h264 .264 .h265 .265 .hevc .rm .rmvb .mjpeg .mjpg .nut .wtv".split()
)
_STREAM_ENDINGS = (".ts", ".mts", ".m2ts")


def is_video_file(path: str) -> bool:
    """Whether a file is a video. One that is not there, or tells nothing, is what its ending says."""
    ending = os.path.splitext(path)[1].lower()
    try:
        with open(path, "rb") as f:
            head = f.read(_HEAD)
    except (OSError, ValueError):
        return ending in VIDEO_ENDINGS + _STREAM_ENDINGS
    kind = _kind(head)
    return ending in VIDEO_ENDINGS if kind is None else kind == "video"


def _kind(head: bytes) -> str | None:
    """ "video", "picture", or None."""
    if head.startswith(_VIDEO_STARTS) or head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video"
    if head.startswith(_PICTURE_STARTS) or head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "picture"
    if head[4:8] in _BOXES:
        return "picture" if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS else "video"
    if head[:4] == b"OggS":
        return "video" if b"\x80theora" in head or b"BBCD" in head or b"\x4fVP80" in head else None
    for size, place in _PACKETS:
        marks = head[place::size]
        if len(marks) >= 4 and set(marks) == {0x47}:
            return "video"
    return None

"""Names that moved or went: a table for whatever one other name replaces.

The right column is `module:name` for a name (`:name` for a built-in one), `module:` for a whole module, and
`=expression needs modules` for what has no name today.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A kind of rewriting: its name in the report, and why it is needed."""

    name: str
    why: str


@dataclass(frozen=True)
class Moved:
    """Where a dead name's meaning is today."""

    module: str  # to import (several with commas between); "" for built-in names and plain expressions
    name: str  # "" if the whole module moved
    expression: str  # of what has no name, else ""
    rule: Rule

    @property
    def code(self) -> str:
        """An expression for it, with `module` imported."""
        return self.expression or ".".join(part for part in (self.module, self.name) if part)


MOVED: dict[str, Moved] = {}


def _moved(name: str, why: str, rows: str) -> None:
    rule = Rule(name, why)
    for row in rows.strip().splitlines():
        old, new = row.split(maxsplit=1)
        if new.startswith("="):
            expression, _, module = new[1:].partition(" needs ")
            MOVED[old] = Moved(module, "", expression, rule)
        else:
            module, _, attribute = new.partition(":")
            MOVED[old] = Moved(module, attribute, "", rule)


_moved(
    "numpy aliases",
    "NumPy 1.24 removed its aliases of Python's types, NumPy 2.0 its second names.",
    """
    numpy.float        :float
    numpy.int          :int
    numpy.bool         :bool
    numpy.object       :object
    numpy.str          :str
    numpy.complex      :complex
    numpy.unicode      :str
    numpy.float_       numpy:float64
    numpy.complex_     numpy:complex128
    numpy.unicode_     numpy:str_
    numpy.string_      numpy:bytes_
    numpy.bool8        numpy:bool_
    numpy.int0         numpy:intp
    numpy.uint0        numpy:uintp
    numpy.object0      numpy:object_
    numpy.singlecomplex numpy:complex64
    numpy.cfloat       numpy:complex128
    numpy.longfloat    numpy:longdouble
    numpy.longcomplex  numpy:clongdouble
    numpy.clongfloat   numpy:clongdouble
    numpy.Inf          numpy:inf
    numpy.Infinity     numpy:inf
    numpy.infty        numpy:inf
    numpy.PINF         numpy:inf
    numpy.NINF         =(-numpy.inf) needs numpy
    numpy.NaN          numpy:nan
    numpy.NAN          numpy:nan
    numpy.PZERO        =0.0
    numpy.NZERO        =-0.0
    numpy.product      numpy:prod
    numpy.cumproduct   numpy:cumprod
    numpy.alltrue      numpy:all
    numpy.sometrue     numpy:any
    numpy.round_       numpy:round
    numpy.row_stack    numpy:vstack
    numpy.trapz        numpy:trapezoid
    numpy.mat          numpy:asmatrix
    numpy.rank         numpy:ndim
    numpy.typeDict     numpy:sctypeDict
    numpy.issubclass_  :issubclass
    numpy.loads        pickle:loads
    numpy.VisibleDeprecationWarning   numpy.exceptions:VisibleDeprecationWarning
    numpy.AxisError    numpy.exceptions:AxisError
    numpy.ComplexWarning              numpy.exceptions:ComplexWarning
    numpy.RankWarning  numpy.exceptions:RankWarning
    numpy.core.umath_tests.inner1d    =(lambda a, b: numpy.einsum("...i,...i", a, b)) needs numpy
    numpy.testing.utils               numpy.testing:
    numpy.lib.arraysetops             numpy:
    """,
)
_moved(
    "abstract collections",
    "Python 3.10 keeps the abstract base classes in collections.abc alone.",
    "\n".join(
        f"collections.{name} collections.abc:{name}"
        for name in (
            "Awaitable Coroutine AsyncIterable AsyncIterator AsyncGenerator Hashable Iterable Iterator Generator "
            "Reversible Sized Container Callable Collection Set MutableSet Mapping MutableMapping MappingView KeysView "
            "ItemsView ValuesView Sequence MutableSequence"
        ).split()
    ),
)
_moved(
    "Python's library",
    "Python 3 has these under another name, or removed them in favour of another.",
    """
    time.clock                   time:perf_counter
    fractions.gcd                math:gcd
    os.errno                     errno:
    os.getcwdu                   os:getcwd
    string.letters               string:ascii_letters
    string.lowercase             string:ascii_lowercase
    string.uppercase             string:ascii_uppercase
    string.maketrans             :str.maketrans
    string.join                  =(lambda words, sep=" ": sep.join(words))
    sys.maxint                   sys:maxsize
    itertools.izip               :zip
    itertools.imap               :map
    itertools.ifilter            :filter
    itertools.izip_longest       itertools:zip_longest
    itertools.ifilterfalse       itertools:filterfalse
    types.StringType             :str
    types.UnicodeType            :str
    types.StringTypes            =(str,)
    types.IntType                :int
    types.LongType               :int
    types.FloatType              :float
    types.BooleanType            :bool
    types.ListType               :list
    types.TupleType              :tuple
    types.DictType               :dict
    types.NoneType               =type(None)
    types.ClassType              :type
    urllib.urlretrieve           urllib.request:urlretrieve
    urllib.urlopen               urllib.request:urlopen
    urllib.urlencode             urllib.parse:urlencode
    urllib.quote                 urllib.parse:quote
    urllib.quote_plus            urllib.parse:quote_plus
    urllib.unquote               urllib.parse:unquote
    urllib.unquote_plus          urllib.parse:unquote_plus
    urllib2                      urllib.request:
    urllib2.HTTPError            urllib.error:HTTPError
    urllib2.URLError             urllib.error:URLError
    urlparse                     urllib.parse:
    cPickle                      pickle:
    Queue                        queue:
    StringIO                     io:
    cStringIO                    io:
    ConfigParser                 configparser:
    HTMLParser                   html.parser:
    Tkinter                      tkinter:
    __builtin__                  builtins:
    thread                       _thread:
    commands.getoutput           subprocess:getoutput
    commands.getstatusoutput     subprocess:getstatusoutput
    xml.etree.cElementTree       xml.etree.ElementTree:
    imp.reload                   importlib:reload
    cgi.escape                   html:escape
    base64.encodestring          base64:encodebytes
    base64.decodestring          base64:decodebytes
    unittest.makeSuite           =unittest.defaultTestLoader.loadTestsFromTestCase needs unittest
    pipes.quote                  shlex:quote
    """,
)
_moved(
    "distutils and pkg_resources",
    "Python 3.12 comes without distutils, setuptools without pkg_resources; the packaging package parses versions.",
    """
    distutils.version.LooseVersion    packaging.version:parse
    distutils.version.StrictVersion   packaging.version:parse
    distutils.spawn.find_executable   shutil:which
    distutils.file_util.copy_file     shutil:copy
    distutils.dir_util.remove_tree    shutil:rmtree
    distutils.dir_util.mkpath         =(lambda path: os.makedirs(path, exist_ok=True)) needs os
    distutils.dir_util.copy_tree      =(lambda src, dst: shutil.copytree(src, dst, dirs_exist_ok=True)) needs shutil
    distutils.util.strtobool          =(lambda text: text.lower() in ("y", "yes", "t", "true", "on", "1"))
    pkg_resources.parse_version       packaging.version:parse
    """,
)
_moved(
    "torch._six",
    "torch 1.13 removed torch._six, which bridged Python 2 and 3.",
    """
    torch._six.PY2              =False
    torch._six.PY3              =True
    torch._six.PY37             =True
    torch._six.string_classes   =(str, bytes)
    torch._six.int_classes      :int
    torch._six.FileNotFoundError :FileNotFoundError
    torch._six.inf              math:inf
    torch._six.nan              math:nan
    torch._six.container_abcs   collections.abc:
    torch._six.queue            queue:
    torch._six.builtins         builtins:
    torch._six.imap             :map
    torch._six.istuple          =(lambda value: isinstance(value, tuple))
    torch.utils.data.dataloader.string_classes       =(str, bytes)
    torch.utils.data.dataloader.int_classes          :int
    torch.utils.data.dataloader.container_abcs       collections.abc:
    torch.utils.data._utils.collate.string_classes   =(str, bytes)
    torch.utils.data._utils.collate.int_classes      :int
    torch.utils.data._utils.collate.container_abcs   collections.abc:
    """,
)
_moved(
    "torch's moved names",
    "Later versions of torch have this under another name, or in another module.",
    """
    torch.distributed.deprecated              torch.distributed:
    torch.nn.parallel.deprecated              torch.nn.parallel:
    torch.nn.parallel.deprecated.DistributedDataParallel  torch.nn.parallel:DistributedDataParallel
    torch.nn.parallel.distributed_cpu         torch.nn.parallel:
    torch.nn.parallel.DistributedDataParallelCPU          torch.nn.parallel:DistributedDataParallel
    torch.nn.parallel.distributed_cpu.DistributedDataParallelCPU  torch.nn.parallel:DistributedDataParallel
    torch.distributed.reduce_op               torch.distributed:ReduceOp
    torch.cuda.comm                           torch.nn.parallel.comm:
    torch.utils.model_zoo._download_url_to_file  torch.hub:download_url_to_file
    torch.hub._download_url_to_file           torch.hub:download_url_to_file
    torch.utils.model_zoo.HASH_REGEX          torch.hub:HASH_REGEX
    torch.utils.model_zoo.urlparse            urllib.parse:urlparse
    torch.hub.urlparse                        urllib.parse:urlparse
    torch.utils.model_zoo.urlopen             urllib.request:urlopen
    torch.utils.model_zoo.tqdm                tqdm:tqdm
    torch.utils.model_zoo._has_file           os.path:exists
    torch.utils.data.numpy                    numpy:
    torch.utils.data.dataset.Sampler          torch.utils.data:Sampler
    torch.utils.data.dataset.random_split     torch.utils.data:random_split
    torch.nn.utils.clip_grad_norm             torch.nn.utils:clip_grad_norm_
    torch.nn.utils.clip_grad.clip_grad_norm   torch.nn.utils:clip_grad_norm_
    torch.nn.functional.upsample              torch.nn.functional:interpolate
    torch.nn.init.uniform                     torch.nn.init:uniform_
    torch.nn.init.normal                      torch.nn.init:normal_
    torch.nn.init.constant                    torch.nn.init:constant_
    torch.nn.init.eye                         torch.nn.init:eye_
    torch.nn.init.dirac                       torch.nn.init:dirac_
    torch.nn.init.xavier_uniform              torch.nn.init:xavier_uniform_
    torch.nn.init.xavier_normal               torch.nn.init:xavier_normal_
    torch.nn.init.kaiming_uniform             torch.nn.init:kaiming_uniform_
    torch.nn.init.kaiming_normal              torch.nn.init:kaiming_normal_
    torch.nn.init.orthogonal                  torch.nn.init:orthogonal_
    torch.nn.init.sparse                      torch.nn.init:sparse_
    torch.matrix_rank                         torch.linalg:matrix_rank
    torch.onnx.OperatorExportTypes.RAW        torch.onnx:OperatorExportTypes.ONNX
    """,
)
_moved(
    "torchvision's moved names",
    "torchvision removed these names; the same function is under another.",
    """
    torchvision.models.utils                          torch.hub:
    torchvision.models.utils.load_state_dict_from_url torch.hub:load_state_dict_from_url
    torchvision.models._utils.load_state_dict_from_url torch.hub:load_state_dict_from_url
    torchvision._internally_replaced_utils            torch.hub:
    torchvision.transforms.Scale                      torchvision.transforms:Resize
    torchvision.transforms.RandomSizedCrop            torchvision.transforms:RandomResizedCrop
    torchvision.transforms.functional.scale           torchvision.transforms.functional:resize
    torchvision.transforms.transforms.Scale           torchvision.transforms:Resize
    """,
)
_moved(
    "Pillow's constants",
    "Pillow 10 removed the second names of its filters, Pillow 7 its version's.",
    """
    PIL.Image.ANTIALIAS   PIL.Image:LANCZOS
    PIL.Image.LINEAR      PIL.Image:BILINEAR
    PIL.Image.CUBIC       PIL.Image:BICUBIC
    PIL.Image.VERSION     PIL:__version__
    PIL.Image.PILLOW_VERSION PIL:__version__
    PIL.PILLOW_VERSION    PIL:__version__
    PIL.VERSION           PIL:__version__
    PIL.Image.fromstring  PIL.Image:frombytes
    """,
)
_moved(
    "OpenCV's old names",
    "OpenCV 3 renamed the constants of its C interface.",
    """
    cv2.CV_AA                     cv2:LINE_AA
    cv2.cv                        cv2:
    cv2.cv.CV_AA                  cv2:LINE_AA
    cv2.cv.BoxPoints              cv2:boxPoints
    cv2.BOX_POINTS                cv2:boxPoints
    cv2.cv.CV_FOURCC              cv2:VideoWriter_fourcc
    cv2.cv.CV_INTER_LINEAR        cv2:INTER_LINEAR
    cv2.cv.CV_BGR2GRAY            cv2:COLOR_BGR2GRAY
    cv2.cv.CV_CAP_PROP_FPS        cv2:CAP_PROP_FPS
    cv2.cv.CV_CAP_PROP_FRAME_COUNT   cv2:CAP_PROP_FRAME_COUNT
    cv2.cv.CV_CAP_PROP_FRAME_WIDTH   cv2:CAP_PROP_FRAME_WIDTH
    cv2.cv.CV_CAP_PROP_FRAME_HEIGHT  cv2:CAP_PROP_FRAME_HEIGHT
    cv2.cv.CV_CAP_PROP_POS_FRAMES    cv2:CAP_PROP_POS_FRAMES
    cv2.CV_LOAD_IMAGE_COLOR       cv2:IMREAD_COLOR
    cv2.CV_LOAD_IMAGE_GRAYSCALE   cv2:IMREAD_GRAYSCALE
    cv2.CV_LOAD_IMAGE_UNCHANGED   cv2:IMREAD_UNCHANGED
    cv2.CV_LOAD_IMAGE_ANYDEPTH    cv2:IMREAD_ANYDEPTH
    cv2.CV_CAP_PROP_FPS           cv2:CAP_PROP_FPS
    """,
)
_moved(
    "scipy, scikit and matplotlib",
    "The package has the same function under another name.",
    """
    scipy.misc.logsumexp                  scipy.special:logsumexp
    scipy.misc.factorial                  scipy.special:factorial
    scipy.misc.comb                       scipy.special:comb
    scipy.misc.face                       scipy.datasets:face
    scipy.misc.imread                     =(lambda name: numpy.asarray(PIL.Image.open(name))) needs numpy, PIL.Image
    scipy.misc.imsave                     =(lambda name, array: PIL.Image.fromarray(array).save(name)) needs PIL.Image
    scipy.misc.toimage                    =PIL.Image.fromarray needs PIL.Image
    scipy.misc.fromimage                  =numpy.asarray needs numpy
    scipy.ndimage.filters                 scipy.ndimage:
    scipy.ndimage.interpolation           scipy.ndimage:
    scipy.ndimage.measurements            scipy.ndimage:
    scipy.ndimage.morphology              scipy.ndimage:
    scipy.ndimage.fourier                 scipy.ndimage:
    scipy.integrate.simps                 scipy.integrate:simpson
    scipy.integrate.trapz                 scipy.integrate:trapezoid
    scipy.integrate.cumtrapz              scipy.integrate:cumulative_trapezoid
    scipy.signal.gaussian                 scipy.signal.windows:gaussian
    scipy.signal.hann                     scipy.signal.windows:hann
    scipy.signal.hamming                  scipy.signal.windows:hamming
    scipy.signal.blackman                 scipy.signal.windows:blackman
    scipy.linalg.pinv2                    scipy.linalg:pinv
    scipy.sparse.linalg.eigen.arpack      scipy.sparse.linalg:
    skimage.measure.compare_ssim          skimage.metrics:structural_similarity
    skimage.measure.compare_psnr          skimage.metrics:peak_signal_noise_ratio
    skimage.measure.compare_mse           skimage.metrics:mean_squared_error
    skimage.measure.compare_nrmse         skimage.metrics:normalized_root_mse
    skimage.filter                        skimage.filters:
    skimage.morphology.watershed          skimage.segmentation:watershed
    skimage.feature.greycomatrix          skimage.feature:graycomatrix
    skimage.feature.greycoprops           skimage.feature:graycoprops
    sklearn.externals.joblib              joblib:
    sklearn.externals.six                 six:
    sklearn.cross_validation              sklearn.model_selection:
    sklearn.grid_search                   sklearn.model_selection:
    sklearn.datasets.samples_generator    sklearn.datasets:
    shapely.geos.TopologicalError         shapely.errors:TopologicalError
    IPython.lib.passwd                    jupyter_server.auth:passwd
    matplotlib.cm.get_cmap                matplotlib.pyplot:get_cmap
    matplotlib.pyplot.cm.get_cmap         matplotlib.pyplot:get_cmap
    matplotlib.mlab.normpdf               =(lambda x, mu, sigma: \
numpy.exp(-((x - mu) / sigma) ** 2 / 2) / (sigma * numpy.sqrt(2 * numpy.pi))) needs numpy
    """,
)


APEX = Rule("apex", "apex does by hand what torch has by now: mixed precision, distributed training, fused layers.")
IMP = Rule("imp", "Python 3.12 comes without imp; upstream's utils/imports.py loads a file as a module.")


def names_by_package(package: str) -> dict[str, Moved]:
    """Names whose place is a module of the ported package; apex's mixed precision is porting/apex_amp.py."""
    apex = {
        "apex.amp": (f"{package}.porting.apex_amp", ""),
        "apex.parallel.DistributedDataParallel": ("torch.nn.parallel", "DistributedDataParallel"),
        "apex.parallel.distributed.DistributedDataParallel": ("torch.nn.parallel", "DistributedDataParallel"),
        "apex.parallel.SyncBatchNorm": ("torch.nn", "SyncBatchNorm"),
        "apex.parallel.convert_syncbn_model": ("torch.nn", "SyncBatchNorm.convert_sync_batchnorm"),
        "apex.normalization.FusedLayerNorm": ("torch.nn", "LayerNorm"),
        "apex.normalization.fused_layer_norm.FusedLayerNorm": ("torch.nn", "LayerNorm"),
        "apex.optimizers.FusedAdam": ("torch.optim", "AdamW"),
        "apex.optimizers.FusedSGD": ("torch.optim", "SGD"),
    }
    names = {old: Moved(module, name, "", APEX) for old, (module, name) in apex.items()}
    names["imp.load_source"] = Moved(f"{package}.utils.imports", "import_file", "", IMP)
    return names

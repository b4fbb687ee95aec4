// Where images come from: files, videos (frames of them at equal distances) and a camera.
import { $, counted } from "./dom.js";

const MOST_ITEMS = 500; // images on the page
const SECONDS = 20; // for a frame of a video

export const isVideo = (file) => file.type.startsWith("video/");

// At most MOST_ITEMS in all; {taken, left}.
export function limited(files, already) {
  const taken = files.slice(0, Math.max(MOST_ITEMS - already, 0));
  return { taken, left: files.length - taken.length };
}

const once = (target, name) =>
  new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error("timeout")), 1000 * SECONDS);
    const end = (call) => (event) => {
      clearTimeout(timer);
      call(event);
    };
    target.addEventListener(name, end(done), { once: true });
    target.addEventListener("error", end(() => fail(new Error("error"))), { once: true });
  });

export const frameOf = (video) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
};

// Calls onFrame(blob, name) for `count` frames at equal distances; returns a sentence about them.
export async function readVideo(file, count, onFrame) {
  const video = document.createElement("video");
  const url = URL.createObjectURL(file);
  const unreadable = new Error(
    `The browser cannot play ${file.name}. Convert it to MP4 (H.264) or WebM, or run \`mrb predict\` on it, which reads more kinds.`,
  );
  try {
    Object.assign(video, { muted: true, preload: "auto", src: url });
    await once(video, "loadeddata").catch(() => Promise.reject(unreadable));
    if (!Number.isFinite(video.duration)) {
      throw new Error(`${file.name} does not say how long it is; convert it first, or run \`mrb predict\` on it.`);
    }
    if (!video.videoWidth) throw unreadable;
    const stem = file.name.replace(/\.[^.]*$/, "");
    for (let i = 0; i < count; i++) {
      const seconds = (video.duration * (i + 0.5)) / count;
      const isThere = once(video, "seeked");
      video.currentTime = seconds;
      await isThere.catch(() => Promise.reject(unreadable));
      if (!(await onFrame(await frameOf(video), `${stem}_${seconds.toFixed(2)}s.jpg`))) {
        return `${counted(i + 1, "frame")} of ${file.name}; there is no room for more.`;
      }
    }
    const apart = video.duration / count;
    return `${counted(count, "frame")} of ${file.name}, ${video.duration.toFixed(1)} s long: one each ${apart.toFixed(2)} s.`;
  } finally {
    video.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
}

// The camera: one frame after another, as fast as the server answers.
export class Camera {
  constructor() {
    this.stream = null;
  }

  // onFrame(blob, rate) is awaited before the next one is taken. Raises Error with a sentence.
  async start(onFrame) {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give a camera only to pages of this machine (http://127.0.0.1) or over HTTPS.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      throw new Error(`There is no camera that may be used (${error.message || error.name}).`);
    }
    const mine = this.stream;
    this.showState(true);
    const times = [];
    try {
      $("video").srcObject = mine;
      await $("video").play();
      while (this.stream === mine) {
        const blob = await frameOf($("video"));
        if (this.stream !== mine) break; // a click holds the frame that was shown
        const rate = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0;
        await onFrame(blob, rate);
        times.push(performance.now());
        if (times.length > 10) times.shift();
      }
    } finally {
      if (this.stream === mine) this.stop();
    }
  }

  stop() {
    if (!this.stream) return;
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = null;
    $("video").srcObject = null;
    this.showState(false);
  }

  showState(isOn) {
    $("camera").textContent = isOn ? "Stop the camera" : "Start the camera";
    $("camera").setAttribute("aria-pressed", String(isOn));
  }
}

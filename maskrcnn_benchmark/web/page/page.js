"use strict";
// Pictures go to the server as they are; it answers with drawings. What is shown belongs to `current`.

const $ = (id) => document.getElementById(id);
const TERMS = { appearance: "By appearance", position: "By position", total: "Together" };

let models = [];
let current = null; // the picture that is being detected in or shown
let shown = null; // the one that is shown, with its size
let point = null; // the pixel that was clicked, in the picture
let camera = null; // its MediaStream while it runs
let waiting = null; // of the threshold

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function ask(path, parameters, body) {
  let response;
  try {
    response = await fetch(`${path}?${new URLSearchParams(parameters)}`, { method: body ? "POST" : "GET", body });
  } catch {
    throw new Error("The server does not answer; does `mrb web` still run?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(typeof answer.detail === "string" ? answer.detail : `The server failed (${response.status}).`);
  }
  return answer;
}

const model = () => models.find((m) => m.name === $("model").value);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function colourChip(colour) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 14);
  svg.setAttribute("height", 14);
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ width: 14, height: 14, fill: colour })) rect.setAttribute(key, value);
  svg.append(rect);
  return svg;
}

function showDetections(found) {
  $("count").textContent = found.length === 1 ? "1 detection" : `${found.length} detections`;
  $("detections").replaceChildren(
    ...found.map((d) => {
      const item = element("li");
      item.append(colourChip(d.colour), element("span", d.name), element("span", d.score.toFixed(2), "score"));
      return item;
    }),
  );
}

// Detect in a picture and show it; returns the answer, or null where another picture came meanwhile.
async function detect(blob) {
  current = { blob };
  const mine = current;
  const answer = await ask("/api/detect", { model: model().name, threshold: $("threshold").value }, blob);
  if (mine !== current) return null;
  $("picture").src = answer.picture;
  await $("picture").decode().catch(() => {});
  shown = Object.assign(mine, { width: answer.width, height: answer.height });
  $("empty").hidden = true;
  $("frame").hidden = false;
  showDetections(answer.detections);
  return answer;
}

const hint = () => (model().modules.length ? " Click a pixel to see what it takes from the rest of the picture." : "");

async function showPicture(blob) {
  stopCamera();
  forgetPoint();
  await detectAgain(blob);
}

async function detectAgain(blob = current && current.blob) {
  if (!blob) return;
  say("Detecting …");
  try {
    const answer = await detect(blob);
    if (answer) say(`${answer.width} × ${answer.height} pixels in ${answer.seconds.toFixed(2)} s.${hint()}`);
  } catch (error) {
    say(error.message, true);
  }
}

// The camera: one frame after another, as fast as the server answers.
async function startCamera() {
  if (!navigator.mediaDevices) {
    say("Browsers give a camera only to pages of this machine (http://127.0.0.1) or over HTTPS.", true);
    return;
  }
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`There is no camera that may be used (${error.message || error.name}).`, true);
    return;
  }
  const mine = camera;
  $("camera").textContent = "Stop the camera";
  $("camera").classList.add("on");
  $("video").srcObject = camera;
  forgetPoint();
  const times = [];
  try {
    await $("video").play();
    while (camera === mine) {
      const blob = await takeFrame();
      if (camera !== mine) break; // a click holds the frame that was shown
      await detect(blob);
      times.push(performance.now());
      if (times.length > 10) times.shift();
      const rate = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0;
      if (camera === mine) say(`${rate.toFixed(1)} frames/s.${hint()}`);
    }
  } catch (error) {
    stopCamera();
    say(error.message, true);
  }
}

function takeFrame() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [$("video").videoWidth, $("video").videoHeight];
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

function stopCamera() {
  if (!camera) return;
  for (const track of camera.getTracks()) track.stop();
  camera = null;
  $("video").srcObject = null;
  $("camera").textContent = "Start the camera";
  $("camera").classList.remove("on");
}

// Context of a pixel.
function forgetPoint() {
  point = null;
  $("mark").hidden = true;
  $("context").hidden = true;
}

async function choosePoint(event) {
  if (!shown || !model().modules.length) return;
  stopCamera(); // the picture stands still while one looks at it
  current = shown;
  const box = $("picture").getBoundingClientRect();
  const [right, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const inside = (fraction, length) => Math.min(Math.max(fraction * length, 0), length - 1);
  point = { x: inside(right, shown.width), y: inside(down, shown.height) };
  $("mark").style.left = `${100 * right}%`;
  $("mark").style.top = `${100 * down}%`;
  $("mark").hidden = false;
  await showContext(model().modules[0]);
}

async function showContext(module) {
  const asked = point;
  say("Computing the context …");
  try {
    const place = { model: model().name, x: point.x, y: point.y, module };
    const answer = await ask("/api/context", place, shown.blob);
    if (asked !== point) return;
    const tabs = model().modules.map((name) => {
      const tab = element("button", name);
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-selected", String(name === module));
      tab.addEventListener("click", () => showContext(name));
      return tab;
    });
    $("modules").replaceChildren(...tabs);
    const figures = answer.panels.map(({ kind, limit, picture }) => {
      const figure = element("figure");
      const image = element("img");
      image.src = picture;
      image.alt = `${TERMS[kind]}: weights over the picture`;
      const caption = element("figcaption");
      caption.append(element("b", TERMS[kind]), ` (full colour at ${limit.toPrecision(2)})`);
      figure.append(image, caption);
      return figure;
    });
    $("panels").replaceChildren(...figures);
    $("context").hidden = false;
    say(`Pixel ${Math.floor(point.x)}, ${Math.floor(point.y)}.`);
  } catch (error) {
    say(error.message, true);
  }
}

// What the user does.
function take(files) {
  const file = [...files].find((f) => f.type.startsWith("image/")) || files[0];
  if (file) showPicture(file);
}

$("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});
$("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
$("picture").addEventListener("click", choosePoint);
$("model").addEventListener("change", () => {
  $("picture").classList.toggle("clickable", model().modules.length > 0);
  forgetPoint();
  if (!camera) detectAgain();
});
$("threshold").addEventListener("input", () => {
  $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
  clearTimeout(waiting);
  if (!camera) waiting = setTimeout(() => detectAgain(), 150);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  $("stage").addEventListener(name, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => take(event.clipboardData.files));

ask("/api/models", {})
  .then((list) => {
    models = list;
    $("model").replaceChildren(...list.map((m) => element("option", m.name)));
    $("model").dispatchEvent(new Event("change"));
  })
  .catch((error) => say(error.message, true));

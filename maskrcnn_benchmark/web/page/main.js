// Images go to the server as they are; it answers with all detections down to a low score. Filters and drawings are made here.
import { ask } from "./api.js";
import { forgetContext, showContext } from "./context.js";
import { $, counted, element, say } from "./dom.js";
import { connectDownloads } from "./downloads.js";
import { connectFilters, forgetClasses, setThreshold, threshold } from "./filters.js";
import { Item, Queue } from "./items.js";
import { connectKeys, connectTheme } from "./keys.js";
import { showImage, showStatus, showStrip, variantsShown } from "./show.js";
import { Camera, isVideo, limited, readVideo } from "./sources.js";
import { View, moveBy, resetPart, zoomBy } from "./view.js";

const page = {
  models: [],
  items: [],
  current: null,
  mode: "on", // context: "on", "off" or "both"
  note: "", // about what was chosen last
  isNoteBad: false,
  maxBytes: Infinity,
  model: () => page.models.find((m) => m.name === $("model").value),
  canCompare: () => Boolean(page.model()?.can_compare),
  parameters: () => ({
    model: page.model().name,
    ...($("tiles").value === "" ? {} : { tiles: $("tiles").value, scale: $("scale").value }),
  }),
  needs: (item) => (page.mode === "both" && item !== page.current ? ["on"] : variantsShown(page.mode)),
  drawing: () => ({ masks: $("masks").checked, names: $("names").checked }),
  redraw: () => redraw(),
  changed: () => later(),
};
page.queue = new Queue(page);
const camera = new Camera();
const views = {};
for (const variant of ["on", "off"]) views[variant] = new View($(`pane-${variant}`), choosePoint, () => redraw());

// Drawing
let isWaiting = false;
function later() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => {
    isWaiting = false;
    redraw();
    if (!camera.stream) showStatus(page);
  });
}

function redraw() {
  showImage(page, views);
  showStrip(page, pick);
}

// Images
function choose(item) {
  if (!item) return;
  if (page.current !== item) {
    resetPart();
    forgetPoint();
  }
  page.current = item;
  item.errors = {}; // one that failed is tried again
  page.queue.run();
  later();
}

function pick(item) {
  note("");
  choose(item);
}

function note(text, isBad = false) {
  [page.note, page.isNoteBad] = [text, isBad];
}

function step(by) {
  pick(page.items[page.items.indexOf(page.current) + by]);
}

async function add(blob, name) {
  const item = await new Item(blob, name).decode();
  page.items.push(item);
  if (!page.current) choose(item);
  page.queue.run();
  later();
}

async function take(list) {
  if (!list?.length) return; // text, for example
  camera.stop();
  const { taken, left } = limited([...list], page.items.length);
  note(left ? `${counted(left, "file does", "files do")} not fit on the page.` : "", left > 0);
  const first = page.items.length;
  for (const file of taken) {
    if (!isVideo(file)) {
      await add(file, file.name || "image");
    } else {
      say(`Reading ${file.name} …`);
      try {
        const about = await readVideo(file, Number($("frames").value), async (blob, name) => {
          const { taken: fits } = limited([blob], page.items.length);
          if (fits.length) await add(blob, name);
          return fits.length > 0;
        });
        note(about);
      } catch (error) {
        note(error.message, true);
      }
    }
    if (page.items.length > first && page.items.indexOf(page.current) < first) choose(page.items[first]);
  }
  later();
}

function remove() {
  const at = page.items.indexOf(page.current);
  if (at < 0) return;
  camera.stop();
  if (page.queue.working === page.current) page.queue.abort.abort();
  page.current.release();
  page.items.splice(at, 1);
  page.current = null;
  forgetPoint();
  choose(page.items[Math.min(at, page.items.length - 1)]);
  later();
}

// The camera shows its newest frame as one image, which stays when it stops.
async function watch() {
  let shown = null;
  page.queue.stop();
  try {
    await camera.start(async (blob, rate) => {
      const item = await new Item(blob, "camera.jpg").decode();
      for (const variant of variantsShown(page.mode)) {
        await item.take(variant, await page.queue.request(item, variant, !item.image, new AbortController().signal));
      }
      if (!camera.stream) return;
      const at = page.items.indexOf(shown);
      if (at < 0) page.items.push(item);
      else page.items[at] = item;
      shown?.release();
      if (page.current !== shown) resetPart();
      forgetPoint();
      page.current = shown = item;
      redraw();
      say(`${rate.toFixed(1)} frames/s. A click holds the frame.`);
    });
  } catch (error) {
    say(error.message, true);
  }
}

// Context of a pixel
function forgetPoint() {
  for (const view of Object.values(views)) view.point = null;
  forgetContext();
}

async function choosePoint(point) {
  const held = Boolean(camera.stream);
  camera.stop(); // the image stands still while one looks at it
  if (!point || !page.current || !page.model().modules.length) {
    if (held) later();
    return;
  }
  for (const view of Object.values(views)) view.point = point;
  redraw();
  await showContext(page.current, page.model(), point);
}

// What the user does
function changeMode(mode) {
  $("mode").value = page.mode = mode;
  page.queue.run();
  later();
}

function changeModel() {
  $("mode-label").hidden = !page.canCompare();
  $("here").hidden = !page.model().modules.length;
  $("shown").classList.toggle("clickable", page.model().modules.length > 0);
  if (!page.canCompare()) page.mode = $("mode").value = "on";
  forgetClasses();
  forgetPoint();
  page.queue.restart();
  later();
}

function toggle(id) {
  $(id).checked = !$(id).checked;
  redraw();
}

const zoom = (factor) => {
  if (factor) zoomBy(factor);
  else resetPart();
  redraw();
};
const move = (x, y) => {
  moveBy(x, y);
  redraw();
};
const middle = () => page.current?.size && choosePoint(views[variantsShown(page.mode)[0]].pixel(null));
const nextMode = () => page.canCompare() && changeMode({ on: "off", off: "both", both: "on" }[page.mode]);

const on = (id, event, action) => $(id).addEventListener(event, action);
on("file", "change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // the same file may be chosen again
  take(files);
});
on("camera", "click", () => {
  if (!camera.stream) watch();
  else {
    camera.stop();
    later();
  }
});
on("model", "change", changeModel);
on("tiles", "change", () => {
  $("scale-label").hidden = !Number($("tiles").value);
  page.queue.restart();
  later();
});
on("scale", "change", () => page.queue.restart());
on("mode", "change", () => changeMode($("mode").value));
on("masks", "change", redraw);
on("names", "change", redraw);
on("previous", "click", () => step(-1));
on("next", "click", () => step(1));
on("smaller", "click", () => zoom(1 / 1.5));
on("larger", "click", () => zoom(1.5));
on("fit", "click", () => zoom(0));
on("here", "click", middle);
on("remove", "click", remove);
on("stop", "click", () => page.queue.stop());
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => take(event.clipboardData.files));
window.addEventListener("pagehide", () => page.queue.abort?.abort());
connectFilters(redraw);
connectTheme();
connectDownloads(page);
connectKeys({
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Home: () => pick(page.items[0]),
  End: () => pick(page.items.at(-1)),
  "+": () => zoom(1.5),
  "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5),
  0: () => zoom(0),
  "Shift+ArrowLeft": () => move(-0.2, 0),
  "Shift+ArrowRight": () => move(0.2, 0),
  "Shift+ArrowUp": () => move(0, -0.2),
  "Shift+ArrowDown": () => move(0, 0.2),
  "[": () => setThreshold(threshold() - 0.05),
  "]": () => setThreshold(threshold() + 0.05),
  m: () => toggle("masks"),
  n: () => toggle("names"),
  x: nextMode,
  c: middle,
  o: () => $("file").click(),
  Delete: remove,
});

try {
  const { models, floor, most_bytes } = await ask("/api/models", {});
  [page.models, page.maxBytes] = [models, most_bytes];
  $("threshold").min = floor;
  $("model").replaceChildren(...models.map((m) => element("option", m.name)));
  changeModel();
} catch (error) {
  say(error.message, true);
}

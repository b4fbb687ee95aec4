// What is shown as files: COCO's JSON, YOLO's text files, pictures.
import { $, counted, element, say } from "./dom.js";
import { asPicture } from "./draw.js";
import { visible } from "./filters.js";
import { compared } from "./show.js";
import { zip } from "./zip.js";

function save(blob, name) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const stem = (name) => name.replace(/\.[^.]*$/, "") || name;
const rounded = (value, digits = 3) => Number(value.toFixed(digits));

// Names without their endings; those that are there already get a number.
function stems(shown) {
  const taken = new Set();
  return shown.map(({ item }) => {
    let name = stem(item.name);
    for (let n = 2; taken.has(name.toLowerCase()); n++) name = `${stem(item.name)}_${n}`;
    taken.add(name.toLowerCase());
    return name;
  });
}

function polygonArea(polygon) {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 2) {
    const j = (i + 2) % polygon.length;
    sum += polygon[i] * polygon[j + 1] - polygon[j] * polygon[i + 1];
  }
  return Math.abs(sum) / 2;
}

function annotation(id, imageId, { category_id, bbox, score, polygons, keypoints }) {
  const made = { id, image_id: imageId, category_id, bbox: bbox.map((v) => rounded(v)), score: rounded(score, 5) };
  const outlines = (polygons || []).filter((polygon) => polygon.length >= 6);
  made.area = rounded(outlines.length ? outlines.reduce((sum, p) => sum + polygonArea(p), 0) : bbox[2] * bbox[3]);
  made.iscrowd = 0;
  if (outlines.length) made.segmentation = outlines;
  if (keypoints) {
    made.keypoints = keypoints.flatMap(([x, y, v]) => [x, y, v ? 2 : 0]);
    made.num_keypoints = keypoints.filter(([, , v]) => v).length;
  }
  return made;
}

// `shown`: {item, detections} of each image; classes of the model.
export function asCoco(shown, classes) {
  const content = {
    info: { description: "Detections with their scores; masks are outlines" },
    images: shown.map(({ item }, i) => ({ id: i + 1, file_name: item.name, width: item.size[0], height: item.size[1] })),
    categories: classes.map(({ id, name }) => ({ id, name })),
    annotations: [],
  };
  shown.forEach(({ detections }, i) => {
    for (const d of detections) content.annotations.push(annotation(content.annotations.length + 1, i + 1, d));
  });
  return content;
}

// Lines of class, centre and size as fractions of the image; classes count from 0 in the model's order.
export function asYolo({ item, detections }, classes) {
  const [width, height] = item.size;
  const numbers = new Map(classes.map(({ label }, i) => [label, i]));
  return detections
    .filter(({ label }) => numbers.has(label))
    .map(({ label, bbox: [x, y, w, h] }) => {
      const values = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height];
      return `${[numbers.get(label), ...values.map((v) => rounded(v, 6))].join(" ")}\n`;
    })
    .join("");
}

function saveCoco(shown, classes) {
  save(new Blob([JSON.stringify(asCoco(shown, classes))], { type: "application/json" }), "detections.json");
}

function saveYolo(shown, classes) {
  const names = stems(shown);
  if (shown.length === 1) {
    save(new Blob([asYolo(shown[0], classes)], { type: "text/plain" }), `${names[0]}.txt`);
    return;
  }
  const files = shown.map((one, i) => [`labels/${names[i]}.txt`, asYolo(one, classes)]);
  files.push(["classes.txt", classes.map(({ name }) => `${name}\n`).join("")]);
  save(zip(files), "yolo.zip");
}

const asPng = (canvas) => new Promise((done) => canvas.toBlob(done, "image/png"));

// Two pictures beside each other where both are compared. `options` of drawDetections without tools.
function picture({ item, detections, others }, options) {
  const draw = (found) => asPicture(item.image, ...item.size, found, options);
  if (!others) return draw(detections);
  const pair = [draw(detections), draw(others)];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * pair[0].width + 8, pair[0].height];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  pair.forEach((one, i) => context.drawImage(one, i * (one.width + 8), 0));
  return canvas;
}

async function savePng(shown, _, options) {
  const names = stems(shown);
  const files = [];
  for (const [i, one] of shown.entries()) {
    const blob = await asPng(picture(one, options));
    if (!blob) throw new Error(`The browser cannot make a picture of ${one.item.name}.`);
    if (shown.length === 1) return save(blob, `${names[0]}.png`);
    files.push([`${names[i]}.png`, new Uint8Array(await blob.arrayBuffer())]);
  }
  return save(zip(files), "pictures.zip");
}

// Save what `make` makes of the images that are wanted.
async function download(page, make) {
  const variant = page.mode === "off" ? "off" : "on";
  const wanted = $("scope").value === "all" ? page.items : page.items.filter((item) => item === page.current);
  const shown = wanted
    .filter((item) => item.results[variant])
    .map((item) => ({ item, detections: visible(item.results[variant]) }));
  if (!shown.length) {
    say("There are no detections to download yet.", true);
    return;
  }
  if (page.mode === "both" && $("scope").value === "one" && page.current.results.off) {
    shown[0].others = compared(page)[0].off;
  }
  try {
    const connections = shown[0].item.results[variant].connections;
    await make(shown, page.model().classes, { ...page.drawing(), connections });
    const left = wanted.length - shown.length;
    const missing = left ? ` ${counted(left, "image has", "images have")} no detections and ${left === 1 ? "is" : "are"} left out.` : "";
    say(`Saved what is shown of ${counted(shown.length, "image")}.${missing}`);
  } catch (error) {
    say(error.message, true);
  }
}

export function connectDownloads(page) {
  for (const [id, make] of Object.entries({ coco: saveCoco, yolo: saveYolo, png: savePng })) {
    $(id).addEventListener("click", () => download(page, make));
  }
}

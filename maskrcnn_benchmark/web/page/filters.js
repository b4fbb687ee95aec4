// Which detections are shown: a least score for all, and for each class a switch and a least score of its own.
import { $, button, colourChip, element } from "./dom.js";

const settings = new Map(); // label -> {on, least}
const rows = new Map(); // label -> its elements
let changed = () => {};

const setting = (label) => {
  if (!settings.has(label)) settings.set(label, { on: true, least: 0 });
  return settings.get(label);
};

export const threshold = () => Number($("threshold").value);

export function passes(detection) {
  const { on, least } = setting(detection.label);
  return on && detection.score >= threshold() && detection.score >= least;
}

export const visible = (result) => (result ? result.detections.filter(passes) : []);

export function setThreshold(value) {
  $("threshold").value = value;
  $("threshold").dispatchEvent(new Event("input"));
}

function makeRow(detection) {
  const { label, name, colour } = detection;
  const row = element("li");
  const line = element("label");
  const box = element("input");
  box.type = "checkbox";
  box.checked = setting(label).on;
  const count = element("span", "", "score");
  line.append(box, colourChip(colour), element("span", name, "name"), count);
  const least = element("input");
  Object.assign(least, { type: "range", min: 0, max: 1, step: 0.01, value: setting(label).least });
  least.setAttribute("aria-label", `Least score of ${name}`);
  least.title = `Least score of ${name}`;
  box.addEventListener("change", () => {
    setting(label).on = box.checked;
    changed();
  });
  least.addEventListener("input", () => {
    setting(label).least = Number(least.value);
    least.title = `Least score of ${name}: ${Number(least.value).toFixed(2)}`;
    changed();
  });
  row.append(line, least);
  return { row, box, count, least };
}

// A row for each class that was found in any image; counts are those of the shown one.
export function showClasses(results, current) {
  const shown = new Map();
  for (const d of current ? current.detections : []) {
    const [some, all] = shown.get(d.label) || [0, 0];
    shown.set(d.label, [some + passes(d), all + 1]);
  }
  const known = new Map();
  for (const result of results) for (const d of result.detections) if (!known.has(d.label)) known.set(d.label, d);
  for (const [label, d] of known) if (!rows.has(label)) rows.set(label, makeRow(d));
  for (const [label, { row, count }] of rows) {
    const [some, all] = shown.get(label) || [0, 0];
    count.textContent = `${some} of ${all}`;
    if (!known.has(label)) row.remove();
  }
  const sorted = [...known.keys()].sort((a, b) => a - b);
  const wanted = sorted.map((label) => rows.get(label).row);
  if (wanted.some((row, i) => $("classes").children[i] !== row)) $("classes").replaceChildren(...wanted);
  $("class-buttons").hidden = wanted.length < 2;
}

// Another model has other classes.
export function forgetClasses() {
  settings.clear();
  rows.clear();
  $("classes").replaceChildren();
}

export function connectFilters(onChange) {
  changed = onChange;
  $("threshold").addEventListener("input", () => {
    $("threshold-value").textContent = threshold().toFixed(2);
    changed();
  });
  const switchAll = (on) => {
    for (const [label, { box }] of rows) setting(label).on = box.checked = on;
    changed();
  };
  $("all-classes").addEventListener("click", () => switchAll(true));
  $("no-class").addEventListener("click", () => switchAll(false));
}

// What the page shows of its state: panes, lists, the strip of images and the line of status.
import { differences } from "./compare.js";
import { $, button, colourChip, counted, element, say } from "./dom.js";
import { showClasses, visible } from "./filters.js";
import { lookAt } from "./view.js";

const MOST_LISTED = 100; // detections
const NAMES = { on: "with context", off: "without context" };

export const variantsShown = (mode) => (mode === "both" ? ["on", "off"] : [mode]);

// `page`: see main.js; `views`: by variant.
export function showImage(page, views) {
  const { current, mode } = page;
  $("empty").hidden = Boolean(current);
  $("shown").hidden = !current;
  if (!current) {
    showList(page, [], new Set());
    return;
  }
  const isBoth = mode === "both";
  $("panes").classList.toggle("two", isBoth);
  const [found, strong] = compared(page);
  for (const variant of ["on", "off"]) {
    const { figure } = views[variant];
    figure.hidden = !variantsShown(mode).includes(variant);
    figure.querySelector("figcaption").hidden = !page.canCompare();
    if (figure.hidden) continue;
    if (!current.size) {
      const sentence = current.errors[variant] ? `No image to show: ${current.name} failed.` : `${current.name}: no preview yet.`;
      views[variant].clear(sentence);
      continue;
    }
    const options = { ...page.drawing(), connections: current.results[variant]?.connections, strong };
    views[variant].show(current.source, current.size, found[variant], options);
    views[variant].canvas.setAttribute("aria-label", described(found[variant]));
  }
  showList(page, found[variantsShown(mode)[0]], strong, isBoth ? found.off : []);
}

// Visible detections by variant; with both variants also the set of those that only one of them has.
export function compared({ current, mode }) {
  const found = { on: visible(current.results.on), off: visible(current.results.off) };
  if (mode !== "both" || !current.results.on || !current.results.off) return [found, new Set()];
  const [onlyOn, onlyOff] = differences(found.on, found.off);
  return [found, new Set([...onlyOn, ...onlyOff])];
}

function described(found) {
  const counts = new Map();
  for (const { name } of found) counts.set(name, (counts.get(name) || 0) + 1);
  const parts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${counted(found.length, "detection")}${parts.length ? `: ${parts.slice(0, 12).join(", ")}` : ""}`;
}

function showList(page, found, strong, others = []) {
  const { current } = page;
  const missing = others.filter((d) => strong.has(d));
  const only = strong.size ? `, ${found.filter((d) => strong.has(d)).length} only with context` : "";
  const isKnown = current && variantsShown(page.mode).every((variant) => current.results[variant]);
  $("count").textContent = isKnown ? counted(found.length, "detection") + only : "Detections";
  const listed = [...found, ...missing].slice(0, MOST_LISTED);
  const rows = listed.map((d) => {
    const item = element("li");
    const row = button("", () => {
      lookAt(d.bbox, ...current.size);
      page.redraw();
    });
    row.append(colourChip(d.colour), element("span", d.name, "name"));
    if (strong.has(d)) row.append(element("span", `only ${NAMES[found.includes(d) ? "on" : "off"]}`, "tag"));
    row.append(element("span", d.score.toFixed(2), "score"));
    item.append(row);
    return item;
  });
  $("detections").replaceChildren(...rows);
  const more = found.length + missing.length - listed.length;
  const leftOut = current?.results[page.mode === "off" ? "off" : "on"]?.left_out || 0;
  const sentences = [];
  if (more) sentences.push(`${counted(more, "more detection is", "more detections are")} drawn.`);
  if (leftOut) sentences.push(`${counted(leftOut, "detection")} of the lowest scores did not fit.`);
  $("more").textContent = sentences.join(" ");
  $("more").hidden = !sentences.length;
  const variant = page.mode === "off" ? "off" : "on";
  showClasses(page.items.map((item) => item.results[variant]).filter(Boolean), current?.results[variant]);
}

export function showStrip(page, choose) {
  const { items, current } = page;
  $("strip").hidden = items.length < 2;
  const at = items.indexOf(current);
  $("position").textContent = current ? `${at + 1} of ${items.length}: ${current.name}` : "";
  $("previous").disabled = at <= 0;
  $("next").disabled = at < 0 || at === items.length - 1;
  while ($("strip").children.length > items.length) $("strip").lastChild.remove();
  items.forEach((item, i) => {
    let row = $("strip").children[i];
    if (!row || row.item !== item) {
      const made = element("li");
      made.item = item;
      made.append(button("", () => choose(item)));
      if (row) row.replaceWith(made);
      else $("strip").append(made);
      row = made;
    }
    showThumbnail(row.firstChild, item, item === current, page.mode === "off" ? "off" : "on");
  });
}

function showThumbnail(made, item, isCurrent, variant) {
  const result = item.results[variant];
  const state = item.progress || (item.errors[variant] && "failed") || (result ? String(visible(result).length) : "…");
  const key = `${state} ${isCurrent} ${Boolean(item.thumbnail)}`;
  if (made.dataset.state === key) return;
  made.dataset.state = key;
  const about = result && state !== "failed" ? counted(visible(result).length, "detection") : state;
  made.setAttribute("aria-label", `${item.name}: ${about}`);
  made.title = item.name;
  if (isCurrent) made.setAttribute("aria-current", "true");
  else made.removeAttribute("aria-current");
  made.replaceChildren(item.thumbnail || element("span", "no preview", "none"), element("span", state, "state"));
  if (isCurrent) reveal(made.parentElement);
}

// Scroll the strip alone, not the page.
function reveal(row) {
  const strip = $("strip");
  const [left, right] = [row.offsetLeft - strip.offsetLeft, row.offsetLeft - strip.offsetLeft + row.offsetWidth];
  if (left < strip.scrollLeft) strip.scrollLeft = left - 12;
  else if (right > strip.scrollLeft + strip.clientWidth) strip.scrollLeft = right - strip.clientWidth + 12;
}

export function showStatus(page) {
  const { items, current, mode, queue, note, isNoteBad } = page;
  $("stop").hidden = !queue.isRunning;
  if (!current) {
    say(note, isNoteBad);
    return;
  }
  const failed = variantsShown(mode).map((variant) => current.errors[variant]).find(Boolean);
  if (failed) {
    const named = failed.includes(current.name) ? failed : `${current.name}: ${failed}`;
    say([named, note].filter(Boolean).join("\n"), true);
    return;
  }
  const missing = variantsShown(mode).some((variant) => !current.results[variant]);
  if (queue.isRunning && (missing || queue.working !== current)) {
    const variant = mode === "off" ? "off" : "on";
    const done = items.filter((item) => item.results[variant] || item.errors[variant]).length;
    const many = items.length > 1 ? `${done} of ${items.length} images done; ` : "";
    const { name, progress } = queue.working || current;
    say(`${many}${name}: ${progress || "detecting …"}`);
    return;
  }
  const result = current.results[variantsShown(mode)[0]];
  if (!result) return;
  const hint = page.model().modules.length ? " Click a pixel to see what it takes from the rest of the image." : "";
  const size = `${result.width} × ${result.height} pixels in ${result.seconds.toFixed(2)} s.`;
  say(isNoteBad ? note : `${size}${hint} ${note}`, isNoteBad);
}

// What one pixel takes from the rest of the image, for each non-local module.
import { ask } from "./api.js";
import { $, button, element, say } from "./dom.js";

const TERMS = { appearance: "By appearance", position: "By position", total: "Together" };
let wanted = null; // the point that was asked for last

export function forgetContext() {
  wanted = null;
  $("context").hidden = true;
}

export async function showContext(item, model, point, module = model.modules[0]) {
  wanted = point;
  say("Computing the context …");
  try {
    const place = { model: model.name, x: point.x, y: point.y, module };
    const answer = await ask("/api/context", place, item.blob);
    if (wanted !== point) return;
    $("modules").replaceChildren(...model.modules.map((name) => tab(name, name === module, item, model, point)));
    $("panels").replaceChildren(...answer.panels.map(panel));
    $("context").hidden = false;
    say(`Pixel ${Math.floor(point.x)}, ${Math.floor(point.y)}: what it takes from the image is shown below.`);
  } catch (error) {
    say(error.message, true);
  }
}

function tab(name, isChosen, item, model, point) {
  const made = button(name, () => showContext(item, model, point, name).then(() => focusTab(name)));
  made.setAttribute("role", "tab");
  made.setAttribute("aria-selected", String(isChosen));
  made.setAttribute("aria-controls", "panels");
  made.tabIndex = isChosen ? 0 : -1;
  made.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    const names = model.modules;
    const other = names[(names.indexOf(name) + step + names.length) % names.length];
    showContext(item, model, point, other).then(() => focusTab(other));
  });
  return made;
}

const focusTab = (name) => [...$("modules").children].find((made) => made.textContent === name)?.focus();

function panel({ kind, limit, picture }) {
  const figure = element("figure");
  const image = element("img");
  image.src = picture;
  image.alt = `${TERMS[kind]}: weights over the image`;
  const caption = element("figcaption");
  caption.append(element("b", TERMS[kind]), ` (full colour at ${limit.toPrecision(2)})`);
  figure.append(image, caption);
  return figure;
}

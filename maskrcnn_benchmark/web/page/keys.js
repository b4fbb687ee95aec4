// Shortcuts of the keyboard, the dialog that lists them, and the theme.
import { $, element, remembered } from "./dom.js";

const ABOUT = [
  ["← →", "the image before and after"],
  ["Home End", "the first and the last image"],
  ["+ − 0", "enlarge, make smaller, the whole image"],
  ["Shift and arrows", "move an enlarged image"],
  ["[ ]", "lower and raise the least score"],
  ["m n", "masks and names on or off"],
  ["x", "context on, off, both (where the model has it)"],
  ["c", "what the pixel in the middle takes from the image"],
  ["o", "choose images or a video"],
  ["Delete", "remove the image from the page"],
  ["?", "this list"],
];

const isText = (target) =>
  target.matches("select, textarea, dialog *") || (target.matches("input") && !["checkbox", "file"].includes(target.type));

// `actions`: functions by key; names as in KeyboardEvent.key, with "Shift+" before those of arrows.
export function connectKeys(actions) {
  for (const [keys, meaning] of ABOUT) $("keys").append(element("dt", keys), element("dd", meaning));
  const isOn = () => $("single-keys").checked;
  $("single-keys").checked = remembered.get("single-keys") !== "off";
  $("single-keys").addEventListener("change", () => remembered.set("single-keys", isOn() ? "on" : "off"));
  $("help").addEventListener("click", () => $("shortcuts").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isText(event.target)) return;
    const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
    if (name.length === 1 && !isOn()) return;
    const action = name === "?" ? () => $("shortcuts").showModal() : actions[name];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

export function connectTheme() {
  const show = (name) => {
    if (name) document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
  };
  $("theme").value = document.documentElement.dataset.theme || "";
  $("theme").addEventListener("change", () => {
    show($("theme").value);
    remembered.set("theme", $("theme").value);
  });
}

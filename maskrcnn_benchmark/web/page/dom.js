// Small helpers for the document.

export const $ = (id) => document.getElementById(id);

export function say(text, isError = false) {
  $("status").textContent = text.trim();
  $("status").classList.toggle("error", isError);
}

export function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function button(text, onClick) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

export function colourChip(colour) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ width: 14, height: 14 })) {
    svg.setAttribute(key, value);
    rect.setAttribute(key, value);
  }
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("fill", colour);
  svg.append(rect);
  return svg;
}

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

// What a user chose stays for the next visit, where the browser allows it.
export const remembered = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // storage is switched off
    }
  },
};

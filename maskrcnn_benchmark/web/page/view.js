// A pane with an image and its detections, which can be enlarged and moved; all panes show the same part.
import { element } from "./dom.js";
import { drawDetections, pen } from "./draw.js";

const MOST_ZOOM = 40;
const CLICK = 4; // pixels: a pointer that moves farther drags

export const part = { zoom: 1, x: 0.5, y: 0.5 }; // 1: the whole image; x and y: what is in the middle, fractions of the image

export function resetPart() {
  Object.assign(part, { zoom: 1, x: 0.5, y: 0.5 });
}

export function zoomBy(factor, x = part.x, y = part.y) {
  const zoom = Math.min(Math.max(part.zoom * factor, 1), MOST_ZOOM);
  // The point (x, y) stays where it is.
  part.x = x + ((part.x - x) * part.zoom) / zoom;
  part.y = y + ((part.y - y) * part.zoom) / zoom;
  part.zoom = zoom;
  keepInside();
}

export function moveBy(x, y) {
  part.x += x / part.zoom;
  part.y += y / part.zoom;
  keepInside();
}

function keepInside() {
  const half = 0.5 / part.zoom;
  part.x = Math.min(Math.max(part.x, half), 1 - half);
  part.y = Math.min(Math.max(part.y, half), 1 - half);
}

// So that a box (x, y, w, h in pixels of the image) fills a fifth of the view.
export function lookAt([x, y, w, h], width, height) {
  part.zoom = Math.min(Math.max(Math.min(width / w, height / h) / 5, 1), MOST_ZOOM);
  [part.x, part.y] = [(x + w / 2) / width, (y + h / 2) / height];
  keepInside();
}

export class View {
  // onPoint is called with the pixel of the image that was clicked; onMove when the part changed.
  constructor(figure, onPoint, onMove) {
    this.figure = figure;
    this.area = figure.querySelector(".view");
    [this.image, this.canvas, this.mark] = ["img", "canvas", ".mark"].map((name) => this.area.querySelector(name));
    this.nothing = element("p", "", "nothing");
    this.area.append(this.nothing);
    this.size = null; // [width, height] of the image; null: there is none to show
    this.point = null;
    this.draw = () => {};
    new ResizeObserver(() => this.render()).observe(this.area);
    this.connectPointer(onPoint, onMove);
  }

  // `options` of drawDetections without tools.
  show(source, size, detections, options) {
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    this.nothing.textContent = "";
    this.size = size;
    this.draw = (context, place, unit) => drawDetections(context, detections, place, { ...options, tools: pen(unit) });
    this.render();
  }

  // A sentence in place of an image that is not there, or not yet.
  clear(sentence) {
    this.size = null;
    this.nothing.textContent = sentence;
    this.image.removeAttribute("src");
    this.image.style.width = "0"; // or browsers draw a broken image
    this.canvas.width = this.canvas.width; // which wipes it
    this.mark.hidden = true;
  }

  // Where the image lies in the area, in CSS pixels.
  place() {
    const { clientWidth: width, clientHeight: height } = this.area;
    const scale = Math.min(width / this.size[0], height / this.size[1]) * part.zoom;
    const offset = (side, length, centre) => {
      const whole = length * scale;
      return whole <= side ? (side - whole) / 2 : Math.min(Math.max(side / 2 - centre * whole, side - whole), 0);
    };
    return { scale, x: offset(width, this.size[0], part.x), y: offset(height, this.size[1], part.y) };
  }

  render() {
    if (!this.size || !this.area.clientWidth) return;
    const unit = window.devicePixelRatio || 1;
    const { scale, x, y } = this.place();
    this.image.style.width = `${this.size[0] * scale}px`;
    this.image.style.height = `${this.size[1] * scale}px`;
    this.image.style.transform = `translate(${x}px, ${y}px)`;
    this.image.classList.toggle("pixels", scale * unit > 4);
    this.area.classList.toggle("enlarged", part.zoom > 1);
    this.canvas.width = Math.round(this.area.clientWidth * unit);
    this.canvas.height = Math.round(this.area.clientHeight * unit);
    this.draw(this.canvas.getContext("2d"), { scale: scale * unit, x: x * unit, y: y * unit }, unit);
    this.mark.hidden = !this.point;
    if (this.point) {
      this.mark.style.left = `${x + this.point.x * scale}px`;
      this.mark.style.top = `${y + this.point.y * scale}px`;
    }
  }

  // The pixel of the image below a pointer or, without one, in the middle; null outside of it.
  pixel(event) {
    const box = this.area.getBoundingClientRect();
    const at = event ? [event.clientX - box.left, event.clientY - box.top] : [box.width / 2, box.height / 2];
    const { scale, x, y } = this.place();
    const [px, py] = [(at[0] - x) / scale, (at[1] - y) / scale];
    return px >= 0 && py >= 0 && px < this.size[0] && py < this.size[1] ? { x: px, y: py } : null;
  }

  connectPointer(onPoint, onMove) {
    let last = null;
    let moved = 0;
    this.area.addEventListener("pointerdown", (event) => {
      if (event.button || !this.size) return;
      [last, moved] = [event, 0];
      this.area.setPointerCapture(event.pointerId);
    });
    this.area.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [x, y] = [event.clientX - last.clientX, event.clientY - last.clientY];
      moved += Math.hypot(x, y);
      last = event;
      if (part.zoom === 1 || moved < CLICK) return;
      const { scale } = this.place();
      moveBy((-x * part.zoom) / (this.size[0] * scale), (-y * part.zoom) / (this.size[1] * scale));
      onMove();
    });
    this.area.addEventListener("pointerup", (event) => {
      const isClick = last && moved < CLICK;
      last = null;
      const pixel = isClick && this.size ? this.pixel(event) : null;
      if (pixel) onPoint(pixel);
    });
    this.area.addEventListener("pointercancel", () => (last = null));
    this.area.addEventListener(
      "wheel",
      (event) => {
        if (!this.size || !event.ctrlKey) return; // otherwise the page scrolls
        event.preventDefault();
        const pixel = this.pixel(event);
        const at = pixel ? [pixel.x / this.size[0], pixel.y / this.size[1]] : [];
        zoomBy(2 ** (-event.deltaY / 200), ...at);
        onMove();
      },
      { passive: false },
    );
  }
}

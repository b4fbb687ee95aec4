// Drawing of detections on a canvas, in the manner of the package's own pictures: lines outside of the objects, captions where
// they hide neither objects nor each other.

const LEAST_SIDE = 480; // pixels: smaller images are enlarged in downloads, or their captions would cover them
const MOST_SIDE = 4096;
const MOST_PIXELS = 40e6;

// A pen for a canvas on which `unit` pixels are one of the design.
export const pen = (unit) => ({ line: 2 * unit, thin: unit, letters: Math.round(13 * unit), unit });

// Whether white stands out from a colour more than black does (relative luminance, WCAG).
function isDark(colour) {
  const light = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255);
  const [r, g, b] = light.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179;
}

const onCanvas = ([x, y, w, h], place) => ({
  x: place.x + x * place.scale,
  y: place.y + y * place.scale,
  w: w * place.scale,
  h: h * place.scale,
});

function outline(context, { x, y, w, h }, colour, tools, isStrong) {
  // Around the object, not over it; a small one gets a thin line.
  const line = Math.min(w, h) < 24 * tools.unit && !isStrong ? tools.thin : isStrong ? 2 * tools.line : tools.line;
  const strokes = [
    [isDark(colour) ? "rgb(255 255 255 / .65)" : "rgb(0 0 0 / .65)", line + 2 * tools.thin],
    [colour, line],
  ];
  for (const [style, width] of strokes) {
    context.strokeStyle = style;
    context.lineWidth = width;
    const away = tools.thin + line / 2;
    context.strokeRect(x - away, y - away, w + 2 * away, h + 2 * away);
  }
}

function fillMask(context, polygons, colour, place, isSmall) {
  context.beginPath();
  for (const polygon of polygons) {
    for (let i = 0; i < polygon.length; i += 2) {
      const at = [place.x + polygon[i] * place.scale, place.y + polygon[i + 1] * place.scale];
      if (i) context.lineTo(...at);
      else context.moveTo(...at);
    }
    context.closePath();
  }
  context.globalAlpha = isSmall ? 0.2 : 0.35;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
}

function drawKeypoints(context, points, connections, colour, place, tools) {
  const spots = points.map(([x, y, v]) => [place.x + (x + 0.5) * place.scale, place.y + (y + 0.5) * place.scale, v]);
  context.lineWidth = tools.line;
  context.strokeStyle = colour;
  for (const [a, b] of connections) {
    if (!spots[a]?.[2] || !spots[b]?.[2]) continue;
    context.beginPath();
    context.moveTo(spots[a][0], spots[a][1]);
    context.lineTo(spots[b][0], spots[b][1]);
    context.stroke();
  }
  for (const [x, y, v] of spots) {
    if (!v) continue;
    context.beginPath();
    context.arc(x, y, 1.5 * tools.line, 0, 2 * Math.PI);
    context.fillStyle = "#000";
    context.fill();
    context.beginPath();
    context.arc(x, y, tools.line, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.fill();
  }
}

const common = (a, b) =>
  Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));

// Where each caption of width w and height h goes: {x, y, w, h}, or null where it would hide too much.
export function placeCaptions(boxes, sizes, width, height) {
  const taken = [];
  return boxes.map((box, index) => {
    const { w, h } = sizes[index];
    const gap = 4;
    const places = [
      [box.x - 2, box.y - h - gap],
      [box.x - 2, box.y + box.h + gap],
      [box.x + box.w - w, box.y - h - gap],
      [box.x + box.w + gap, box.y],
      [box.x - w - gap, box.y],
      [box.x + box.w + gap, box.y + box.h - h],
    ];
    if (box.w * box.h > 6 * w * h) places.splice(1, 0, [box.x + 2, box.y + 2]); // large enough to have it inside
    let best = null;
    let least = 0.25;
    places.forEach(([px, py], rank) => {
      const place = { x: Math.min(Math.max(px, 0), width - w), y: Math.min(Math.max(py, 0), height - h), w, h };
      let hidden = 0.01 * rank;
      for (const other of taken) hidden += (4 * common(place, other)) / (w * h);
      for (const other of boxes) hidden += common(place, other) / Math.max(other.w * other.h, 1);
      if (hidden < least) [best, least] = [place, hidden];
    });
    if (best) taken.push(best);
    return best;
  });
}

// Args: detections; place {scale, x, y} of the image on the canvas; options {masks, names, connections, tools, strong (a Set)}.
export function drawDetections(context, detections, place, options) {
  const { masks, names, connections, tools, strong } = options;
  const { width, height } = context.canvas;
  const all = detections.map((d) => ({ d, box: onCanvas(d.bbox, place) }));
  const seen = all.filter(({ box }) => box.x < width && box.y < height && box.x + box.w > 0 && box.y + box.h > 0);
  context.lineJoin = "miter";
  const bySize = [...seen].sort((a, b) => b.box.w * b.box.h - a.box.w * a.box.h);
  for (const { d, box } of masks ? bySize : []) {
    if (d.polygons) fillMask(context, d.polygons, d.colour, place, Math.min(box.w, box.h) < 24 * tools.unit);
  }
  for (const { d, box } of bySize) outline(context, box, d.colour, tools, strong?.has(d));
  for (const { d } of seen) {
    if (d.keypoints) drawKeypoints(context, d.keypoints, connections || [], d.colour, place, tools);
  }
  if (names) drawNames(context, seen, tools);
}

function drawNames(context, seen, tools) {
  context.font = `${tools.letters}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const texts = seen.map(({ d }) => `${d.name} ${d.score.toFixed(2)}`);
  const margin = 4 * tools.unit;
  const sizes = texts.map((text) => ({ w: context.measureText(text).width + 2 * margin, h: tools.letters * 1.35 }));
  const { width, height } = context.canvas;
  placeCaptions(seen.map(({ box }) => box), sizes, width, height).forEach((place, i) => {
    if (!place) return;
    const colour = seen[i].d.colour;
    context.fillStyle = colour;
    context.fillRect(place.x, place.y, place.w, place.h);
    context.fillStyle = isDark(colour) ? "#fff" : "#000";
    context.fillText(texts[i], place.x + margin, place.y + place.h / 2 + tools.unit / 2);
  });
}

// The image with its detections as a canvas of the image's size; a small one is enlarged, a very large one reduced.
export function asPicture(image, width, height, detections, options) {
  let scale = Math.max(1, Math.ceil(LEAST_SIDE / Math.min(width, height)));
  scale = Math.min(scale, Math.max(1, Math.floor(MOST_SIDE / Math.max(width, height))));
  scale = Math.min(scale, Math.sqrt(MOST_PIXELS / (width * height)), (4 * MOST_SIDE) / Math.max(width, height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(Math.round(side * scale), 1));
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const tools = pen(Math.max(1, Math.min(canvas.width, canvas.height) / 700));
  drawDetections(context, detections, { scale, x: 0, y: 0 }, { ...options, tools });
  return canvas;
}

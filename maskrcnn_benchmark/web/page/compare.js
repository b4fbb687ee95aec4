// Detections with and without context: which ones have no counterpart.

const SAME = 0.5; // IoU

function iou([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const w = Math.min(ax + aw, bx + bw) - Math.max(ax, bx);
  const h = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  const common = Math.max(w, 0) * Math.max(h, 0);
  return common / (aw * ah + bw * bh - common);
}

// Sets of the detections that only one of two lists has; the best of the first choose first.
export function differences(first, second) {
  const free = new Set(second);
  const alone = new Set();
  for (const a of first) {
    let [best, least] = [null, SAME];
    for (const b of free) {
      const overlap = a.label === b.label ? iou(a.bbox, b.bbox) : 0;
      if (overlap >= least) [best, least] = [b, overlap];
    }
    if (best) free.delete(best);
    else alone.add(a);
  }
  return [alone, free];
}

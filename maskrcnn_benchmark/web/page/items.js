// The images on the page, and the queue in which the server looks at them, one at a time, the shown one first.
import { askWithProgress } from "./api.js";

const THUMBNAIL = 96; // pixels

export class Item {
  constructor(blob, name) {
    this.blob = blob;
    this.name = name;
    this.url = URL.createObjectURL(blob);
    this.image = null; // decoded by the browser, if it can
    this.source = null; // the address of what is shown: the file, or what the server made of it
    this.size = null; // [width, height]
    this.thumbnail = null; // a canvas
    this.results = {}; // of the variants "on" and "off": with and without context
    this.errors = {};
    this.progress = "";
  }

  async decode() {
    const image = new Image();
    image.src = this.url;
    await image.decode().then(
      () => this.use(image, this.url),
      () => {}, // a kind of file that browsers do not know; the server may
    );
    return this;
  }

  use(image, source) {
    [this.image, this.source] = [image, source];
    this.size = [image.naturalWidth, image.naturalHeight];
    const scale = THUMBNAIL / Math.max(...this.size);
    this.thumbnail = document.createElement("canvas");
    [this.thumbnail.width, this.thumbnail.height] = this.size.map((side) => Math.max(Math.round(side * scale), 1));
    this.thumbnail.getContext("2d").drawImage(image, 0, 0, this.thumbnail.width, this.thumbnail.height);
  }

  // What the server found in a variant. The size is that of the image as it is meant to be seen.
  async take(variant, result) {
    if (result.picture) {
      const image = new Image();
      image.src = result.picture;
      await image.decode();
      this.use(image, result.picture);
      delete result.picture;
    }
    this.size = [result.width, result.height];
    this.results[variant] = result;
  }

  forget() {
    [this.results, this.errors] = [{}, {}];
  }

  release() {
    URL.revokeObjectURL(this.url);
  }
}

export class Queue {
  // `page`: items, current, parameters() of a request, needs(item) -> variants, maxBytes, changed().
  constructor(page) {
    this.page = page;
    this.isRunning = false;
    this.abort = null;
    this.working = null;
  }

  next() {
    const { items, current } = this.page;
    for (const item of current ? [current, ...items] : items) {
      const variant = this.page.needs(item).find((v) => !item.results[v] && !item.errors[v]);
      if (variant) return [item, variant];
    }
    return null;
  }

  async run() {
    if (this.isRunning) return;
    this.isRunning = true;
    try {
      for (let task = this.next(); task; task = this.next()) {
        this.working = task[0];
        await this.detect(...task);
        this.page.changed();
      }
    } finally {
      [this.isRunning, this.working] = [false, null];
      this.page.changed();
    }
  }

  async detect(item, variant) {
    const abort = (this.abort = new AbortController());
    item.progress = "detecting …";
    this.page.changed();
    try {
      let result = await this.request(item, variant, !item.image, abort.signal);
      const agrees = !item.image || (item.size[0] === result.width && item.size[1] === result.height);
      if (!agrees && !item.results.on && !item.results.off) {
        // The browser turns or reads the file in another way than the server.
        result = await this.request(item, variant, true, abort.signal);
      }
      if (!abort.signal.aborted) await item.take(variant, result);
    } catch (error) {
      if (!abort.signal.aborted) item.errors[variant] = error.message;
    } finally {
      item.progress = "";
    }
  }

  request(item, variant, preview, signal) {
    if (item.blob.size > this.page.maxBytes) {
      throw new Error(`The file ${item.name} is larger than ${this.page.maxBytes >> 20} MB.`);
    }
    const parameters = { ...this.page.parameters(), context: variant === "on", preview };
    return askWithProgress("/api/detect", parameters, item.blob, signal, ({ state, done, total }) => {
      const words = total ? `tile ${done} of ${total}` : state === "waiting" ? "waiting for others …" : "detecting …";
      if (item.progress && item.progress !== words) {
        item.progress = words;
        this.page.changed();
      }
    });
  }

  // End what is under way: results of other parameters are wanted now.
  restart() {
    this.abort?.abort();
    for (const item of this.page.items) item.forget();
    this.run();
  }

  // End all; what is not done says so, and is done when it is chosen.
  stop() {
    for (const item of this.page.items) {
      for (const variant of this.page.needs(item)) {
        if (!item.results[variant]) item.errors[variant] = "Stopped; choose the image again to detect in it.";
      }
    }
    this.abort?.abort();
  }
}

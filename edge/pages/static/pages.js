// The pages of one file as pictures whose pixels are those of a receipt's boxes.

import { json } from "/pages/api.js";

/** Pages, loaded as they are asked for. `release` frees the memory. */
export class Pages {
  #blob;
  #pages = [];
  #more = true;
  #byDevice = null;

  constructor(blob) {
    this.#blob = blob;
  }

  /** `{url, width, height}` of a page, or null where the file has none of that number. */
  async page(index) {
    this.#byDevice ??= await isDocument(this.#blob);
    if (!this.#byDevice && this.#pages.length === 0) {
      const shown = await asPicture(this.#blob);
      if (shown) this.#pages.push(shown);
      this.#byDevice = !shown; // a picture that this browser cannot show
      this.#more = !shown;
    }
    while (this.#more && this.#pages.length <= index) await this.#draw();
    return this.#pages[index] ?? null;
  }

  /** Whether a page follows the one of this number; known once that one was asked for. */
  follows(index) {
    return index + 1 < this.#pages.length || this.#more;
  }

  release() {
    for (const page of this.#pages) URL.revokeObjectURL(page.url);
    this.#pages = [];
    this.#more = false;
  }

  async #draw() {
    const path = `/pages/pictures?first=${this.#pages.length}`;
    const { pages, more } = await json(path, { method: "POST", body: this.#blob });
    this.#more = more;
    for (const { width, height, jpeg } of pages) {
      const bytes = Uint8Array.from(atob(jpeg), (character) => character.charCodeAt(0));
      this.#pages.push({ url: URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })), width, height });
    }
  }
}

/** Whether the bytes are a PDF or a TIFF, which browsers do not show as pictures. */
async function isDocument(blob) {
  const head = new Uint8Array(await blob.slice(0, 1024).arrayBuffer());
  const text = String.fromCharCode(...head);
  return text.includes("%PDF-") || text.startsWith("II*\0") || text.startsWith("MM\0*");
}

/** The picture upright, as its EXIF data says and as scoring reads it; null where this browser cannot show it. */
async function asPicture(blob) {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    return null;
  }
  return { url, width: image.naturalWidth, height: image.naturalHeight };
}

/**
 * Requests that follow what a person does: one is in flight, only the newest that waits is kept, and an older result is
 * never shown after a newer one.
 *
 * @typedef {object} Part  one request of an input: the four seeds of a picture are four parts
 * @property {string} key  the place of its result
 * @property {object} request
 */
export class Follow {
  #next = null;
  #running = false;
  #count = 0;
  #shown = 0;
  #stop = new AbortController();

  /**
   * @param {(request: object, signal: AbortSignal) => Promise<object>} ask
   * @param {object} tell
   * @param {(part: Part, result: object, number: number) => Promise<void>} tell.show
   * @param {(error: Error, part: Part|null) => void} tell.fail  the other parts are asked for all the same
   * @param {(busy: boolean, note: string) => void} tell.state
   */
  constructor(ask, tell) {
    this.ask = ask;
    this.tell = tell;
  }

  /** Whether something is in flight or waits. */
  get busy() {
    return this.#running;
  }

  /** @param {() => Promise<Part[]>} parts  made when it is the turn of this input, so that a storm of strokes makes few */
  want(parts) {
    this.#next = parts;
    if (!this.#running) this.#run();
  }

  /** Forget what waits, end what is in flight, and show no result of before. */
  drop() {
    this.#next = null;
    this.#shown = this.#count + 1;
    this.#stop.abort();
    this.#stop = new AbortController();
  }

  async #run() {
    this.#running = true;
    this.tell.state(true, "");
    while (this.#next) {
      const parts = this.#next;
      this.#next = null;
      this.#count = Math.max(this.#count, this.#shown) + 1;
      await this.#all(parts, this.#count, this.#stop.signal);
    }
    this.#running = false;
    this.tell.state(false, "");
  }

  async #all(make, number, signal) {
    let first = true;
    for (const part of await this.#tried(make, null, signal, [])) {
      if (signal.aborted || (this.#next && !first)) return;
      first = false;
      const result = await this.#tried(() => this.#patiently(part, signal), part, signal, null);
      if (result && !signal.aborted && number >= this.#shown) {
        this.#shown = number;
        await this.tell.show(part, result, number);
      }
    }
  }

  /** What a call gives; `otherwise` and word of the error if it fails. */
  async #tried(call, part, signal, otherwise) {
    try {
      return await call();
    } catch (error) {
      if (error.name !== "AbortError" && !signal.aborted) this.tell.fail(error, part);
      return otherwise;
    }
  }

  /** The result; null if the server was full and there is a newer input to ask it for. */
  async #patiently(part, signal) {
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.ask(part.request, signal);
      } catch (error) {
        if (!(error.retryAfter > 0) || tries >= 20) throw error;
        this.tell.state(true, error.message);
        await pause(Math.min(error.retryAfter, 10), signal);
        if (this.#next) return null;
        this.tell.state(true, "");
      }
    }
  }
}

function pause(seconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    });
  });
}

import type { PageMessage, TokenMessage } from "./embed.tsx";

/*
 * <canvas-flow-insights view="overview" settings="days=90"></canvas-flow-insights>: a page of the server within a page of an
 * application, as high as its content. The token is its property `token`; the event `tokenneeded` requests one, at the
 * start and when it has expired.
 */

const home = new URL(import.meta.url);

class CanvasFlowInsights extends HTMLElement {
  static readonly observedAttributes = ["view", "settings", "src"];

  #frame: HTMLIFrameElement | undefined;
  #isReady = false;
  #token: string | undefined;
  readonly #listen = (event: MessageEvent): void => this.#take(event);

  /** The origin of the server: attribute `src`, or the one that the script came from. */
  get #origin(): string {
    return new URL(this.getAttribute("src") ?? home.href, home).origin;
  }

  get token(): string | undefined {
    return this.#token;
  }

  set token(token: string | undefined) {
    this.#token = token;
    if (this.#isReady && token !== undefined) this.#post({ type: "insights:token", token });
  }

  connectedCallback(): void {
    // Set before the script was loaded: the property of the instance would hide the setter.
    if (Object.hasOwn(this, "token")) {
      const { token } = this;
      Reflect.deleteProperty(this, "token");
      this.token = token;
    }
    addEventListener("message", this.#listen);
    this.#show();
  }

  disconnectedCallback(): void {
    removeEventListener("message", this.#listen);
    this.#frame?.remove();
    this.#frame = undefined;
    this.#isReady = false;
  }

  attributeChangedCallback(): void {
    if (this.#frame !== undefined) this.#show();
  }

  #show(): void {
    const view = this.getAttribute("view") ?? "";
    const address = new URL(`/embed/${encodeURIComponent(view)}`, this.#origin);
    address.search = this.getAttribute("settings") ?? "";
    this.#frame?.remove();
    this.#isReady = false;
    this.#frame = document.createElement("iframe");
    this.#frame.title = this.getAttribute("title") ?? `Canvas Flow Insights: ${view}`;
    this.#frame.style.cssText = "display: block; width: 100%; height: 300px; border: 0";
    this.#frame.src = address.href;
    this.append(this.#frame);
  }

  #post(message: TokenMessage): void {
    this.#frame?.contentWindow?.postMessage(message, this.#origin);
  }

  #ask(): void {
    this.dispatchEvent(new CustomEvent("tokenneeded", { bubbles: true }));
  }

  #take({ source, origin, data }: MessageEvent): void {
    if (this.#frame === undefined || source !== this.#frame.contentWindow || origin !== this.#origin) return;
    const message = data as PageMessage;
    if (message.type === "insights:ready") {
      this.#isReady = true;
      if (this.#token === undefined) this.#ask();
      else this.#post({ type: "insights:token", token: this.#token });
    } else if (message.type === "insights:token-needed") this.#ask();
    else if (message.type === "insights:height" && Number.isFinite(message.height)) {
      this.#frame.style.height = `${Math.min(Math.max(message.height, 0), 100_000)}px`;
    }
  }
}

if (customElements.get("canvas-flow-insights") === undefined) {
  customElements.define("canvas-flow-insights", CanvasFlowInsights);
}

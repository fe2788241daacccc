import { createMeter, bounds as meterBounds, type Time } from "./meter.ts";
import { createSender } from "./sender.ts";
import { createStore } from "./storage.ts";

/*
 * The client for browsers: page views with engaged time and scroll depth, events, consent. Its messages are those of
 * `track.ingest`, and their names those of docs/events.md.
 */

declare global {
  interface Navigator {
    readonly globalPrivacyControl?: boolean;
  }
}

export type Properties = Record<string, unknown>;

export interface Options {
  /** Address of the API: `https://insights.example`, or a path of the same origin. */
  url: string;
  /** A write key that lists the origin of the page. */
  key?: string;
  /** The token of the signed-in person; called before each request. */
  token?: () => string | undefined | Promise<string | undefined>;
  /** The purpose of what is collected: a decision about it decides whether anything is sent. Default: analytics. */
  purpose?: string;
  /** Whether nothing is sent or kept before the person has agreed to the purpose. Default: false. */
  optIn?: boolean;
  /**
   * With Global Privacy Control. `mark`: messages carry the signal, and the database applies it to the purposes that it
   * concerns; the id of the browser ends with the tab. `stop`: nothing is sent unless the person has agreed to the
   * purpose. Default: mark.
   */
  gpc?: "mark" | "stop";
  /** Seconds after the last activity for which a person counts as active. Default: 30. */
  idle?: number;
  /** Whether page views are sent without a call of `page`. Default: true. */
  pages?: boolean;
  /** The address of the current page, for applications whose addresses are not those of the browser. */
  path?: () => string;
}

export interface Insights {
  /** Sends an event, with the page view that it belongs to. */
  track(event: string, properties?: Properties): void;
  /** Opens a page view; the former one ends. `item` is the content that the page shows. */
  page(properties?: Properties): void;
  /** Names the signed-in person, and her traits. */
  identify(userId: string, traits?: Properties): void;
  /** Records decisions by purpose. A refusal of the purpose of this client deletes what is not sent yet, and its id. */
  consent(decisions: Record<string, boolean>): void;
  /** The person signed out: what she did is sent, and a new id begins. */
  reset(): Promise<void>;
  /** Sends what waits. Resolves after the attempt. */
  flush(): Promise<void>;
  /** The id of the browser; undefined without a message. */
  anonymousId(): string | undefined;
}

let count = 0;

/** Ids of a page sort by time. */
const newId = (): string => {
  count += 1;
  const random = [...crypto.getRandomValues(new Uint8Array(10))].map((byte) => byte.toString(16).padStart(2, "0"));
  return Date.now().toString(36) + (count % 46_656).toString(36).padStart(3, "0") + random.join("");
};

const now = (): Time => ({ wall: Date.now(), steady: performance.now() });

/** The share of the page that has been visible at its lower end, from 0 to 1. */
const scrolledTo = (): number => {
  const { scrollHeight } = document.documentElement;
  return scrollHeight === 0 ? 0 : Math.min(1, Math.round((100 * (scrollY + innerHeight)) / scrollHeight) / 100);
};

const ownPath = (): string => location.pathname + location.search + (/^#[/!]/.test(location.hash) ? location.hash : "");

export function load(options: Options): Insights {
  const { purpose = "analytics", optIn = false, idle = 30, pages = true, path = ownPath } = options;
  const gpc = navigator.globalPrivacyControl === true;
  const store = createStore("insights:", () => localStorage);
  const ids = gpc ? createStore("insights:", () => sessionStorage) : store;
  const sender = createSender(options, store, { credentials: !gpc });

  let decisions: Record<string, boolean> = JSON.parse(store.get("consent") ?? "{}");
  let userId: string | undefined;
  /** The current page view. `beat` is the id of its next heartbeat. */
  let view: { id: string; path: string; scrolled: number; beat: string } | undefined;
  /** Properties of a page view that is opened when the page becomes visible. */
  let waiting: Properties | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;

  const isAllowed = (): boolean => decisions[purpose] ?? !(optIn || (gpc && options.gpc === "stop"));

  const complete = (message: Properties, at: number, messageId: string): string => {
    let anonymousId = ids.get("id");
    if (anonymousId === undefined) {
      anonymousId = newId();
      ids.set("id", anonymousId);
    }
    return JSON.stringify({
      ...message,
      messageId,
      anonymousId,
      userId,
      timestamp: new Date(at).toISOString(),
      context: {
        ...(message["context"] as Properties | undefined),
        ...(gpc ? { gpc } : {}),
        ...(Object.keys(decisions).length > 0 ? { consent: { categoryPreferences: decisions } } : {}),
      },
    });
  };
  const send = (message: Properties, at = Date.now(), id = newId()): void => {
    if (isAllowed()) sender.add(id, complete(message, at, id));
  };

  const forget = (): void => {
    for (const name of ["id", "user"]) ids.set(name);
  };

  const meter = createMeter(idle * 1000, ({ at, seconds }, isComplete) => {
    if (view === undefined || !isAllowed()) return;
    const { id, scrolled, beat } = view;
    const text = complete(
      { type: "track", event: "Heartbeat", properties: { viewId: id, interval: seconds, scrolled } },
      at,
      beat,
    );
    // Kept under the same id until it is complete, so that a page that is killed loses no more than a second.
    if (isComplete) {
      sender.add(beat, text);
      view.beat = newId();
    } else sender.keep(beat, text);
  });

  const isVisible = (): boolean => document.visibilityState === "visible";
  const leave = (): void => {
    clearInterval(timer);
    meter.stop(now());
  };
  const enter = (): void => {
    if (waiting !== undefined) open(waiting);
    if (view === undefined) return;
    meter.start(now());
    clearInterval(timer);
    timer = setInterval(() => meter.tick(now()), meterBounds.tick);
  };
  function open(properties: Properties): void {
    leave();
    view = undefined;
    // A page in a tab that has not been seen yet is not a view.
    waiting = properties;
    if (!isVisible() || !isAllowed()) return;
    waiting = undefined;
    view = { id: newId(), path: path(), scrolled: scrolledTo(), beat: newId() };
    const { timeZone: timezone } = Intl.DateTimeFormat().resolvedOptions();
    send({
      type: "page",
      properties: { title: document.title, ...properties, viewId: view.id },
      context: { page: { path: view.path }, timezone },
    });
    enter();
  }

  const client: Insights = {
    track: (event, properties) => send({ type: "track", event, properties: { viewId: view?.id, ...properties } }),
    page: (properties = {}) => open(properties),
    identify(id, traits) {
      userId = id;
      const text = JSON.stringify([id, traits]);
      if (ids.get("user") === text || !isAllowed()) return;
      ids.set("user", text);
      send({ type: "identify", traits });
    },
    consent(changed) {
      const hasSent = ids.get("id") !== undefined;
      decisions = { ...decisions, ...changed };
      store.set("consent", JSON.stringify(decisions));
      const id = newId();
      // A browser that has sent nothing has nothing to withdraw.
      const text =
        hasSent || isAllowed()
          ? complete(
              {
                type: "track",
                event: "Segment Consent Preference Updated",
                properties: { categoryPreferences: decisions },
              },
              Date.now(),
              id,
            )
          : undefined;
      if (!isAllowed()) {
        leave();
        waiting ??= view && {};
        view = undefined;
        sender.clear();
        forget();
      }
      if (text !== undefined) sender.add(id, text);
      if (view === undefined) enter();
    },
    async reset() {
      await client.flush();
      userId = undefined;
      forget();
    },
    flush: () => sender.flush(),
    anonymousId: () => ids.get("id"),
  };

  const passive = { capture: true, passive: true };
  // "timeupdate" is that of a video or a recording that is playing.
  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "scroll", "timeupdate"]) {
    addEventListener(
      kind,
      () => {
        meter.use(now());
        if (kind === "scroll" && view !== undefined) view.scrolled = Math.max(view.scrolled, scrolledTo());
      },
      passive,
    );
  }
  addEventListener("visibilitychange", () => {
    if (isVisible()) enter();
    else {
      leave();
      sender.leave();
    }
  });
  addEventListener("pagehide", () => {
    leave();
    sender.leave();
  });
  addEventListener("online", () => sender.resume());

  if (pages) {
    // A page that comes back from the browser's cache is a new view.
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) open({});
    });
    const moved = (): void => {
      // Its title is set after the address, and a redirection changes the address twice.
      setTimeout(() => {
        if (path() !== view?.path) open({});
      }, 50);
    };
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = function change(...values) {
        original.apply(this, values);
        moved();
      };
    }
    addEventListener("popstate", moved);
    open({});
  }
  void sender.flush();
  return client;
}

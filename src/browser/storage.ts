/*
 * The data that the client keeps in the browser: its id, decisions about consent, and the messages that are not sent yet. All tabs
 * of a site share it. Each message has a key of its own, because two tabs that changed one list would lose messages of
 * each other.
 */

export interface Store {
  get(name: string): string | undefined;
  /** Deletes it without a value. */
  set(name: string, value?: string): void;
  /** Names that begin with the prefix, in their order. */
  names(prefix: string): string[];
}

/** A store in `area`, and in memory where the area is not available, or full. */
export function createStore(prefix: string, area: () => Storage): Store {
  const memory = new Map<string, string>();
  let stored: Storage | undefined;
  try {
    stored = area();
    stored.getItem(prefix);
  } catch {
    stored = undefined;
  }
  return {
    get: (name) => memory.get(name) ?? stored?.getItem(prefix + name) ?? undefined,
    set(name, value) {
      memory.delete(name);
      if (value === undefined) stored?.removeItem(prefix + name);
      else {
        try {
          if (stored === undefined) throw undefined;
          stored.setItem(prefix + name, value);
        } catch {
          memory.set(name, value);
        }
      }
    },
    names: (start) =>
      [
        ...memory.keys(),
        ...Object.keys(stored ?? {}).map((key) => (key.startsWith(prefix) ? key.slice(prefix.length) : "")),
      ]
        .filter((name) => name.startsWith(start))
        .sort(),
  };
}

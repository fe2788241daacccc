/** Paths through sessions, from the views of pages, by the rules of PostHog. */
export interface Visit {
  person: string;
  at: number;
  item: string;
}

export interface Given {
  nodeOf: (item: string) => string | null;
  start: string | null;
  end: string | null;
  steps: number;
  wildcards: string[];
  exclusions: string[];
}

export interface Path {
  person: string;
  nodes: { node: string; at: number }[];
}

const PAUSE = 1_800_000;

const matches = (name: string, wildcard: string): boolean =>
  new RegExp(
    `^${wildcard
      .split("*")
      .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
  ).test(name);

export function pathsOf(visits: readonly Visit[], given: Given): Path[] {
  const sessions: Visit[][] = [];
  const sorted = visits.toSorted((one, other) =>
    one.person < other.person ? -1 : one.person > other.person ? 1 : one.at - other.at,
  );
  for (const visit of sorted) {
    const last = sessions.at(-1)?.at(-1);
    if (last?.person === visit.person && visit.at - last.at <= PAUSE) sessions.at(-1)?.push(visit);
    else sessions.push([visit]);
  }
  return sessions.flatMap((session) => {
    const viewed = session.flatMap(({ item, at }) => {
      const name = given.nodeOf(item);
      if (name === null || given.exclusions.some((pattern) => matches(name, pattern))) return [];
      return [{ node: given.wildcards.find((pattern) => matches(name, pattern)) ?? name, at }];
    });
    let nodes = viewed.filter(({ node }, index) => viewed[index + 1]?.node !== node);
    if (given.start !== null) {
      const place = nodes.findIndex(({ node }) => node === given.start);
      if (place < 0) return [];
      nodes = nodes.slice(place);
    }
    if (given.end !== null) {
      const place = nodes.findIndex(({ node }) => node === given.end);
      if (place < 0) return [];
      nodes = nodes.slice(0, place + 1);
    }
    if (nodes.length > given.steps) {
      const half = Math.floor(given.steps / 2);
      if (given.start !== null && given.end !== null)
        nodes = [
          ...nodes.slice(0, half),
          { node: "...", at: nodes[half]?.at ?? 0 },
          ...nodes.slice(nodes.length - half),
        ];
      else nodes = given.end === null ? nodes.slice(0, given.steps) : nodes.slice(-given.steps);
    }
    return nodes.length === 0 ? [] : [{ person: session[0]?.person ?? "", nodes }];
  });
}

import { isObject, type Json } from "../dialect.ts";

/*
 * The formats `ids` and `canonical` of statements: identifiers alone, and language maps with one language. The format
 * `exact` is what is stored.
 */

export type Format = "ids" | "exact" | "canonical";

const identifiers = ["mbox", "mbox_sha1sum", "openid", "account"];

const pick = (value: Json, names: readonly string[]): Json =>
  Object.fromEntries(names.filter((name) => name in value).map((name) => [name, value[name]]));

function idsOfAgent(agent: Json): Json {
  const own = pick(agent, ["objectType", ...identifiers]);
  const anonymous = agent["objectType"] === "Group" && !identifiers.some((name) => name in agent);
  const members = agent["member"];
  return anonymous && Array.isArray(members) ? { ...own, member: members.filter(isObject).map(idsOfAgent) } : own;
}

function idsOfObject(object: Json): Json {
  switch (object["objectType"]) {
    case "Agent":
    case "Group":
      return idsOfAgent(object);
    case "SubStatement":
      return idsOf(object);
    case "StatementRef":
      return pick(object, ["objectType", "id"]);
    default:
      return pick(object, ["id"]);
  }
}

function idsOf(statement: Json): Json {
  const { actor, verb, object, context, authority } = statement;
  const reduced: Record<string, unknown> = { ...statement };
  if (isObject(actor)) reduced["actor"] = idsOfAgent(actor);
  if (isObject(authority)) reduced["authority"] = idsOfAgent(authority);
  if (isObject(verb)) reduced["verb"] = pick(verb, ["id"]);
  if (isObject(object)) reduced["object"] = idsOfObject(object);
  if (isObject(context)) {
    const { instructor, team, contextActivities } = context;
    reduced["context"] = {
      ...context,
      ...(isObject(instructor) ? { instructor: idsOfAgent(instructor) } : {}),
      ...(isObject(team) ? { team: idsOfAgent(team) } : {}),
      ...(isObject(contextActivities)
        ? {
            contextActivities: Object.fromEntries(
              Object.entries(contextActivities).map(([name, list]) => [
                name,
                Array.isArray(list) ? list.filter(isObject).map(idsOfObject) : list,
              ]),
            ),
          }
        : {}),
    };
  }
  return reduced;
}

/** Language ranges of Accept-Language, the most wanted first. */
export function languagesOf(header: string | undefined): string[] {
  return (header ?? "")
    .slice(0, 1000)
    .split(",")
    .slice(0, 20)
    .map((part) => {
      const [, range = "", quality] = /^\s*([\w*-]+)\s*(?:;\s*q=([\d.]+))?\s*$/.exec(part) ?? [];
      return { range: range.toLowerCase(), quality: quality === undefined ? 1 : Number(quality) };
    })
    .filter(({ range, quality }) => range !== "" && quality > 0)
    .sort((a, b) => b.quality - a.quality)
    .map(({ range }) => range);
}

/** Of a language map the best entry: by the ranges (RFC 4647, lookup), or else in English, or else the first. */
function oneLanguage(map: Json, ranges: readonly string[]): Json {
  const tags = Object.keys(map);
  const starting = (range: string): string | undefined =>
    tags.find((tag) => tag.toLowerCase() === range) ?? tags.find((tag) => tag.toLowerCase().startsWith(`${range}-`));
  for (const wanted of ranges) {
    for (let range = wanted; range !== ""; range = range.replace(/(?:^|-)[^-]*$/, "")) {
      const tag = range === "*" ? tags[0] : starting(range);
      if (tag !== undefined) return { [tag]: map[tag] };
    }
  }
  const tag = tags.includes("und") ? "und" : (starting("en") ?? tags[0]);
  return tag === undefined ? map : { [tag]: map[tag] };
}

const maps: ReadonlySet<string> = new Set(["name", "description", "display"]);

/** Extensions are left as they are, and so are names of agents, which are strings. */
function canonical(value: unknown, ranges: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((element) => canonical(element, ranges));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      if (name === "extensions") return [name, field];
      if (maps.has(name) && isObject(field)) return [name, oneLanguage(field, ranges)];
      return [name, canonical(field, ranges)];
    }),
  );
}

export function formatted(statement: Json, format: Format, ranges: readonly string[]): Json {
  if (format === "ids") return idsOf(statement);
  return format === "canonical" ? (canonical(statement, ranges) as Json) : statement;
}

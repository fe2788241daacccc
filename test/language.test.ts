import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/paths.ts";

/*
 * The language of the project is plain technical English, as in the PostgreSQL manual. Each entry is a pattern that must
 * not occur in code, comments, messages, tests or documents, and the wording to use instead. In a pattern, a space also
 * matches a line break inside a comment.
 */

/** `2 rows a group`, `one file a function`: nouns of the left side, which are no verbs, and of the right side. */
const counted =
  "(?:(?<=one )process|row|file|line|person|people|item|event|message|statement|table|function|command|job|task|column|" +
  "value|batch|connection|transaction|byte|second|minute|hour|day|week|session|user|learner|observation|number|array)";
const per =
  "(?:row|file|line|person|item|event|message|statement|table|index|function|test|command|job|task|model|column|value|" +
  "key|batch|request|connection|transaction|process|partition|group|bucket|leaf|tree|class|second|minute|hour|day|" +
  "week|month|call|run|role|page|view|session|learner|stratum|combination|category|level)";

const words: [pattern: string, instead: string][] = [
  // Versions, links, people.
  ["in force", "deployed (a version), active (a link)"],
  ["strangers?", "unknown person"],
  ["(?:is|are|to|of|for|from|gives?|as) nobody(?! else)", "person 0 (anonymised events); no one, none"],
  ["somebody|anybody|everybody", "a person, a client; any role, any client; everyone, all users"],
  ["whoever|whomever", "the role that, any client that, the caller"],
  ["(?:for|from|by|of|to|than) who(?! (?:is|are) )", "a person who, the role that"],
  ["what(?:ever)? became of", "the outcome of"],
  ["(?:have|has|had|having) to do with", "the history of, the interactions with, concerns"],
  ["yardstick", "baseline"],
  ["heard of", "first seen"],

  // "Look" is a verb.
  ["looks?\\b(?! (?:at|up|for|like|around|through|in)\\b)", "snapshot (of a learner), check, read"],
  ["(?:a|the|each|one|two|their|latest|weekly|many|fewest) looks?", "snapshot, check"],
  ["\\w+_looks?|looks?_\\w+", "snapshot, in names too"],

  // Rates, and comments on columns.
  ["one (?:row|column|file|line) an?", "one row per …"],
  ["is \\$\\$(?:What|Who|Whose|Whom|Which)", "begin with the noun that is described"],

  // Wrong or private English.
  ["mend(?:s|ed|ing)?", "fix, suggestion"],
  ["can not|ca?n''?t", "cannot"],
  ["(?:do|does|did|is|are|was|were|has|have|should|would|could)n''?t(?! Play)", "the long form: does not, is not"],
  ["anew", "again; recomputed"],
  ["(?<!there )(?:is|are|was|were) none", "is invalid, is not a …"],
  [
    "(?<!\\bthere )(?:is|are|was|were|be) no(?! (?:longer|more|less|later|earlier|larger|smaller|such|need|other|matter)\\b)",
    "is not a",
  ],
  ["(?:is|are) (?:not )?to be", "must (not) be"],
  ["(?:is|are) due", "is expected, is required, must be"],
  ["besides", "in addition, also"],
  ["for ever", "permanently, forever"],
  ["for good", "permanently"],
  ["by hand", "manually, explicitly"],
  ["at hand", "in progress, current"],
  ["under way", "in progress"],
  ["at home", "where it belongs, in its own schema"],
  ["(?:and|or) (?:the|their) like", "and similar …"],
  ["what is new", "new rows, new events, changes"],
  ["goes? as\\b", "is treated as, is passed as"],
  ["(?:goes?|going|went) on", "continue"],
  ["on the spot", "immediately"],
  ["in one go", "in one call, at once"],
  ["for the time of", "during"],
  ["sees? to it", "ensure"],
  ["of (?:no|any) use|has a use for", "not needed, not used"],
  ["(?:comes?|came|coming) in\\b", "arrive"],
  ["lies|lie (?!between)", "is (in), is stored (in)"],
  ["(?:lives?|living) (?:in|on|there)\\b", "is stored in, runs in"],
  ["stands? (?:beside|before|where|first|in between|there|alone)", "is before, is in front of, is the only"],
  ["holds? up|held up|holding up", "block"],
  ["tak(?:e|es|en|ing) for (?:a|an|the|one)", "treat as"],
  ["tak(?:e|es|en|ing) back|took back", "revoke, undo, unlink"],
  ["giv(?:e|es|en|ing) (?:everything |it |them )?back", "release, return"],
  ["gives? way", "yield, is cancelled"],
  ["let(?:s|ting)? go", "release, close"],
  ["works? off|worked off|workOff", "process"],
  ["writ(?:e|es|ten) down|notes (?:what|both|down|how)", "record"],
  ["was quicker|were quicker", "was first"],
  ["in line (?:again|for)", "queued"],
  ["spoils?|spoilt|spoiled", "make … fail"],
  ["swallow(?:s|ed)?", "consume, hide"],
  ["to blame", "caused by"],
  ["of ours", "of the installation, of this package"],
  ["young", "new, recent"],
  ["so many", "the given number of, at most n"],
  ["begin of|begun", "start, started"],
  ["spares|spared|sparing", "avoid, save"],
  ["half a surrogate(?: pair)?|halves? of (?:a )?surrogates?|halves of characters", "an unpaired surrogate"],
  [`${counted}s? an? ${per}`, "per: one row per person, events per second"],

  // Programs neither speak nor think.
  ["says so", "reports it"],
  ["says", "states, reports, specifies, contains"],
  ["(?:is|are|be|been|was|were) told", "is notified, receives, is reported"],
  ["tells", "shows, indicates, reports, distinguishes"],
  ["asks", "requests, queries, checks"],
  ["knows", "has, stores, contains"],
  ["wants", "needs, requires"],
  ["speaks?(?! the language)", "act as, count against, use a protocol"],
  ["remember(?:s|ed|ing)?", "store, cache, record"],
  ["forgets|forgotten|forgot", "delete, remove"],
  ["believes?", "trust, accept"],
  ["greet(?:s|ed|ing|ings)?", "startup message"],
  ["patient|patience", "wait time, how long … waits"],
  ["dies|died|of ?the ?dead|(?:the|a) dead", "end, terminated, crashed"],
  ["gets? wind", "is notified"],
  ["(?:one|only|front|back|the|this|same) doors?", "entry point, the only function that"],
  // Not in quotation marks: an id that clients send.
  ["(?<!['\"])guests?", "client, other application"],

  // A comment names its object: "Rows that …", "The time at which …".
  ["(?:/\\*\\*?|//|--|\\$\\$) ?(?:What|Who|Whose|Whom|Which|Of whom|To whom)", "begin with the noun that is described"],
];

/** The same inside names. */
const names: [pattern: string, instead: string][] = [
  ["ofTheDead", "of ended processes"],
  ["sayWhen", "log, explain"],
  ["workOff", "process, refresh"],
  ["objected|objecting", "opted_out"],
];

/** A pattern matches whole words. */
function expression(pattern: string): RegExp {
  const gap = "\\s+(?:(?:\\*|--|//|#)\\s+)?";
  return new RegExp(`(?<![\\w-])(?:${pattern.replaceAll(" ", gap)})(?![\\w-])`, "gi");
}

const rules = [
  ...words.map(([pattern, instead]) => ({ expression: expression(pattern), instead })),
  ...names.map(([pattern, instead]) => ({ expression: new RegExp(`\\w*(?:${pattern})\\w*`, "gi"), instead })),
];

const places = [
  "src",
  "tasks",
  "docs",
  "bench",
  "examples",
  "test",
  "crontab",
  "current.sql",
  "migrations/README.md",
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ".ci/run",
  ".gmrc",
  "graphile.config.ts",
  "vitest.config.ts",
  "package.json",
];

function* filesOf(place: string): Generator<string> {
  const path = join(packageRoot, place);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) {
    for (const name of readdirSync(path).sort()) yield* filesOf(`${place}/${name}`);
  } else if (found?.isFile() && (!place.includes("/") || /\.(?:ts|js|py|md|sql|txt|html|css)$|^\.ci\//.test(place))) {
    yield place;
  }
}

/** The findings of a file, as `file:line: "found" → instead`. */
function check(file: string, text: string): string[] {
  const lines: string[] = [];
  for (const { expression, instead } of rules) {
    for (const { 0: found, index } of text.matchAll(expression)) {
      const line = text.slice(0, index).split("\n").length;
      lines.push(`${file}:${line}: "${found.replace(/\s+/g, " ")}" → ${instead}`);
    }
  }
  return lines;
}

test("the words are those of the PostgreSQL manual", () => {
  const files = places.flatMap((place) => [...filesOf(place)]).filter((file) => file !== "test/language.test.ts");
  const findings = files.flatMap((file) => check(file, readFileSync(join(packageRoot, file), "utf8")));
  expect(findings, findings.join("\n")).toEqual([]);
});

test("a finding has the file, the line and the replacement", () => {
  const text = [
    "/**",
    " * A row a person, in",
    " * force until it can not be mended.",
    " */",
    "const freeJobsOfTheDead = 1;",
    "-- There is no table of that name, and none is needed.",
  ].join("\n");
  expect(check("file.ts", text).map((line) => line.replace(/ → .*/, ""))).toEqual([
    'file.ts:2: "in * force"',
    'file.ts:3: "mended"',
    'file.ts:3: "can not"',
    'file.ts:2: "row a person"',
    'file.ts:5: "freeJobsOfTheDead"',
  ]);
});

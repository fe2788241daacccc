/*
 * The events of Open edX beside the xAPI statements that Open edX itself makes of them, compared by meaning: verb, object,
 * learner, time and score. Needs a checkout of github.com/openedx/event-routing-backends, whose fixtures are the pairs.
 *
 * npm exec -- node bench/edx.ts DIRECTORY
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Json, objectOf, textOf } from "../src/collector/dialect.ts";
import { edxReader } from "../src/importer/edx.ts";
import { linesOf } from "../src/importer/lines.ts";
import type { Message } from "../src/importer/message.ts";

/** The last part of a verb's IRI, and how its events are stored: a page view, a name of the event catalogue, or that of the platform. */
const VERBS: Readonly<Record<string, RegExp>> = {
  registered: /^(Course Enrolled|edx\.course\.enrollment\.mode_changed)$/,
  unregistered: /^Course Dropped$/,
  passed: /^(Course Completed|edx\.course\.grade\.now_passed)$/,
  failed: /^edx\.course\.grade\.now_failed$/,
  played: /^Video Playback Started$/,
  paused: /^Video Playback Paused$/,
  seeked: /^Video Playback Seek Completed$/,
  initialized: /^(Video Loaded|Task Started|edx\.special_exam\.\w+\.attempt\.created)$/,
  completed: /^(complete_video|edx\.problem\.completed|Course Completed|Task Submitted)$/,
  terminated: /^(Video Playback Completed|Task Submitted)$/,
  attempted: /^(Task Graded|problem_check)$/,
  evaluated: /^Task Submitted$/,
  earned: /^(Grade Changed|Course Completed)$/,
  posted: /^Message Posted$/,
  navigated: /^(page|edx\.ui\.lms\.link_clicked)$/,
  viewed: /^page$/,
  read: /^page$/,
  asked: /^(showanswer|edx\.problem\.hint)/,
  interacted:
    /^(showanswer|edx\.video\.closed_captions|(show|hide)_transcript|video_(show|hide)_cc_menu|speed_change_video|edx\.video\.speed)/,
};

const lastOf = (iri: unknown): string => /([^/#]+)$/.exec(textOf(iri) ?? "")?.[1] ?? "";

async function messageOf(event: unknown): Promise<Message | string> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(`${JSON.stringify(event)}\n`);
  }
  for await (const readings of edxReader()(linesOf(bytes()))) {
    for (const reading of readings) {
      if ("message" in reading) return reading.message;
      if ("problem" in reading) return reading.problem.what;
    }
  }
  return "nothing";
}

/** Differences of a message and a statement; none where they mean the same. */
function differences(message: Message, statement: Json): string[] {
  const found: string[] = [];
  const properties = message.properties ?? {};
  const verb = lastOf(objectOf(statement["verb"])["id"]);
  const stored = message.type === "page" ? "page" : (message.event ?? "");
  // Events that have no name in the event catalogue keep that of the platform: the same verb by definition.
  const known = VERBS[verb];
  if (known === undefined ? !/^edx\./.test(stored) : !known.test(stored)) found.push(`verb ${verb}: ${stored}`);
  const object = decodeURIComponent(textOf(objectOf(statement["object"])["id"]) ?? "");
  const item = textOf(properties["item"]) ?? "";
  const key = item.includes("/discussion/") ? lastOf(item) : item;
  const parents = JSON.stringify(objectOf(statement["context"])["contextActivities"] ?? {});
  if (key === "" || !(object.includes(key) || (item.includes("/discussion/") && parents.includes(key)))) {
    found.push(`object ${object}: ${item || "no item"}`);
  }
  const time = Date.parse(textOf(statement["timestamp"]) ?? "");
  if (Math.abs(new Date(message.timestamp).getTime() - time) > 1)
    found.push(`time ${statement["timestamp"]}: ${message.timestamp}`);
  const score = objectOf(objectOf(statement["result"])["score"])["scaled"];
  if (typeof score === "number" && Math.abs(score - Number(properties["score"])) > 1e-9)
    found.push(`score ${score}: ${properties["score"]}`);
  if (typeof score === "number" && properties["score"] === undefined) found.push(`score ${score}: none`);
  return found;
}

const [, , directory = "."] = process.argv;
const processors = join(directory, "event_routing_backends", "processors");
const read = (path: string): unknown => JSON.parse(readFileSync(join(processors, path), "utf8"));
const events = readdirSync(join(processors, "tests/fixtures/current")).filter((name) => name.endsWith(".json"));
const expected = new Set(readdirSync(join(processors, "xapi/tests/fixtures/expected")));
let [stored, leftOut, compared, same] = [0, 0, 0, 0];
for (const name of events) {
  const message = await messageOf(read(`tests/fixtures/current/${name}`));
  if (typeof message === "string") {
    leftOut += 1;
    console.log(`${name}: ${message}`);
    continue;
  }
  stored += 1;
  if (!expected.has(name)) continue;
  const statements = [read(`xapi/tests/fixtures/expected/${name}`)].flat() as Json[];
  // Of a submission with several questions, the first statement is about the whole.
  const [statement] = statements;
  if (statement === undefined) continue;
  compared += 1;
  const found = differences(message, statement);
  if (found.length === 0) same += 1;
  for (const difference of found) console.log(`${name}: ${difference}`);
}
console.log(
  `${events.length} events: ${stored} stored, ${leftOut} left out; of ${compared} expected statements, ${same} have the same verb, object, time and score`,
);

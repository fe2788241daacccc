import { z } from "zod";
import { isObject, type Json } from "../dialect.ts";

/*
 * The structure of statements as xAPI 1.0.3 defines it (part 2, Data). Null is allowed in extensions alone, and
 * properties that the specification does not name are refused.
 */

const text = z.string().refine((value) => value.isWellFormed() && !value.includes("\0"), "is not well-formed text");

/** An IRI with its scheme, of at most 2,000 characters. */
const iri = text.max(2000).regex(/^[a-z][a-z\d+.-]*:[^\s<>"{}|\\^`]+$/i, "is not an IRI with a scheme");

export const uuid = z
  .string()
  .regex(/^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i, "is not a UUID")
  .transform((value) => value.toLowerCase());

/** RFC 5646, with the irregular tags of its registry. */
const language = z
  .string()
  .max(100)
  .regex(
    /^(?:(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?(?:-(?:[a-z\d]{5,8}|\d[a-z\d]{3}))*(?:-[a-wyz\d](?:-[a-z\d]{2,8})+)*(?:-x(?:-[a-z\d]{1,8})+)?|x(?:-[a-z\d]{1,8})+|i-[a-z]{3,8}|en-gb-oed|sgn-(?:be-fr|be-nl|ch-de))$/i,
    "is not a language tag (RFC 5646)",
  );

const languageMap = z.record(language, text);

const extensions = z.record(iri, z.unknown());

const date = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])/;
const clock = /[T ](?:[01]\d|2[0-4])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:[.,]\d+)?)?)?/;
const zone = /(?:Z|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)?$/;
const wholeTime = new RegExp(date.source + clock.source + zone.source, "i");

export const timestamp = z
  .string()
  .max(50)
  .refine(
    (value) => wholeTime.test(value) && !/-00(?::?00)?$/.test(value.slice(10)) && !Number.isNaN(Date.parse(value)),
    "is not a time in ISO 8601 (RFC 3339)",
  );

const duration = z
  .string()
  .max(100)
  .regex(
    /^P(?=.)(?:\d+(?:[.,]\d+)?W|(?:\d+(?:[.,]\d+)?Y)?(?:\d+(?:[.,]\d+)?M)?(?:\d+(?:[.,]\d+)?D)?(?:T(?=\d)(?:\d+(?:[.,]\d+)?H)?(?:\d+(?:[.,]\d+)?M)?(?:\d+(?:[.,]\d+)?S)?)?)$/,
    "is not a duration in ISO 8601",
  );

const identifiers = {
  mbox: text
    .max(300)
    .regex(/^mailto:[^\s@]+@[^\s@]+\.?[^\s@]*$/, "is not mailto: and an e-mail address")
    .optional(),
  mbox_sha1sum: z
    .string()
    .regex(/^[\da-f]{40}$/i, "is not a SHA-1 in hexadecimal")
    .optional(),
  openid: iri.optional(),
  account: z.strictObject({ homePage: iri, name: text.min(1) }).optional(),
};

const count = (agent: Partial<Record<keyof typeof identifiers, unknown>>): number =>
  [agent.mbox, agent.mbox_sha1sum, agent.openid, agent.account].filter((value) => value !== undefined).length;

const oneIdentifier = "needs exactly one of mbox, mbox_sha1sum, openid and account";

const agentFields = { name: text.optional(), ...identifiers };

export const agent = z
  .strictObject({ objectType: z.literal("Agent").optional(), ...agentFields })
  .refine((value) => count(value) === 1, oneIdentifier);

/** With members, an identified group needs none; an anonymous one has no identifier. */
const group = z
  .strictObject({
    objectType: z.literal("Group"),
    ...agentFields,
    member: z.array(agent).max(1000).optional(),
  })
  .refine(
    (value) => count(value) === 1 || (count(value) === 0 && value.member !== undefined),
    `${oneIdentifier}, or members without any of them`,
  );

/** By its objectType, so that the error is that of the kind which was meant. */
function either<Schemas extends Readonly<Record<string, z.ZodType>>>(schemas: Schemas, otherwise: keyof Schemas) {
  return z.unknown().transform((value, context) => {
    const type = isObject(value) && "objectType" in value ? value["objectType"] : otherwise;
    const schema = typeof type === "string" && Object.hasOwn(schemas, type) ? schemas[type] : undefined;
    if (schema === undefined) {
      context.issues.push({
        code: "custom",
        message: `needs an objectType of ${Object.keys(schemas).join(", ")}`,
        path: ["objectType"],
        input: value,
      });
      return z.NEVER;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    for (const { message, path } of parsed.error.issues)
      context.issues.push({ code: "custom", message, path: [...path], input: value });
    return z.NEVER;
  });
}

const actor = either({ Agent: agent, Group: group }, "Agent");

/** That of a client is replaced, and validated all the same: a group is that of OAuth, a consumer and a user. */
const authority = either(
  {
    Agent: agent,
    Group: group.refine(
      (value) => count(value) === 0 && value.member?.length === 2,
      "as a group, an authority is two agents without an identifier",
    ),
  },
  "Agent",
);

const verb = z.strictObject({ id: iri, display: languageMap.optional() });

const component = z
  .array(z.strictObject({ id: text, description: languageMap.optional() }))
  .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, "has two components with the same id");

/** The lists of components that a type of interaction has. */
const components: Readonly<Record<string, readonly string[]>> = {
  choice: ["choices"],
  sequencing: ["choices"],
  likert: ["scale"],
  matching: ["source", "target"],
  performance: ["steps"],
  "true-false": [],
  "fill-in": [],
  "long-fill-in": [],
  numeric: [],
  other: [],
};

const definition = z
  .strictObject({
    name: languageMap.optional(),
    description: languageMap.optional(),
    type: iri.optional(),
    moreInfo: iri.optional(),
    extensions: extensions.optional(),
    interactionType: z.enum(Object.keys(components)).optional(),
    correctResponsesPattern: z.array(text).optional(),
    choices: component.optional(),
    scale: component.optional(),
    source: component.optional(),
    target: component.optional(),
    steps: component.optional(),
  })
  .superRefine((value, context) => {
    const used = ["choices", "scale", "source", "target", "steps"].filter((name) => name in value);
    const allowed = value.interactionType === undefined ? [] : (components[value.interactionType] ?? []);
    const pattern = value.correctResponsesPattern !== undefined && value.interactionType === undefined;
    const wrong = used.find((name) => !allowed.includes(name)) ?? (pattern ? "correctResponsesPattern" : undefined);
    if (wrong !== undefined) {
      context.addIssue({ code: "custom", path: [wrong], message: "does not belong to this interactionType" });
    }
  });

const activity = z.strictObject({
  objectType: z.literal("Activity").optional(),
  id: iri,
  definition: definition.optional(),
});

const statementReference = z.strictObject({ objectType: z.literal("StatementRef"), id: uuid });

const score = z
  .strictObject({
    scaled: z.number().min(-1).max(1).optional(),
    raw: z.number().optional(),
    min: z.number().optional(),
    max: z.number().optional(),
  })
  .refine(
    ({ raw, min, max }) =>
      !(min !== undefined && max !== undefined && min >= max) &&
      !(raw !== undefined && min !== undefined && raw < min) &&
      !(raw !== undefined && max !== undefined && raw > max),
    "needs min below max, and raw between them",
  );

const result = z.strictObject({
  score: score.optional(),
  success: z.boolean().optional(),
  completion: z.boolean().optional(),
  response: text.optional(),
  duration: duration.optional(),
  extensions: extensions.optional(),
});

/** A single activity is returned as a list of one. */
const activities = z
  .union([z.array(activity).max(1000), activity])
  .transform((value) => (Array.isArray(value) ? value : [value]))
  .optional();

const context = z.strictObject({
  registration: uuid.optional(),
  instructor: actor.optional(),
  team: group.optional(),
  contextActivities: z
    .strictObject({ parent: activities, grouping: activities, category: activities, other: activities })
    .optional(),
  revision: text.optional(),
  platform: text.optional(),
  language: language.optional(),
  statement: statementReference.optional(),
  extensions: extensions.optional(),
});

const attachment = z.strictObject({
  usageType: iri,
  display: languageMap,
  description: languageMap.optional(),
  contentType: text.regex(/^[\w.+*-]+\/[\w.+*-]+(?:\s*;.*)?$/, "is not a media type"),
  length: z.int().min(0),
  sha2: z.string().regex(/^[\da-f]{56,128}$/i, "is not a SHA-2 in hexadecimal"),
  fileUrl: iri.optional(),
});

const attachments = z.array(attachment).max(1000).optional();

const isActivity = (object: unknown): boolean =>
  isObject(object) && (object["objectType"] ?? "Activity") === "Activity";

/** The parts of statements and of sub-statements. */
const parts = {
  actor,
  verb,
  result: result.optional(),
  context: context.optional(),
  timestamp: timestamp.optional(),
  attachments,
};

interface Parts {
  object?: unknown;
  context?: { revision?: string | undefined; platform?: string | undefined } | undefined;
}

const onlyOfActivities = ({ object, context: of }: Parts): boolean =>
  isActivity(object) || (of?.revision === undefined && of?.platform === undefined);
const onlyOfActivitiesMessage = "has a context with revision or platform, which belong to activities only";

const subStatement = z
  .strictObject({
    objectType: z.literal("SubStatement"),
    ...parts,
    object: either({ Activity: activity, Agent: agent, Group: group, StatementRef: statementReference }, "Activity"),
  })
  .refine(onlyOfActivities, onlyOfActivitiesMessage);

export const voided = "http://adlnet.gov/expapi/verbs/voided";

const statement = z
  .strictObject({
    id: uuid.optional(),
    ...parts,
    object: either(
      {
        Activity: activity,
        Agent: agent,
        Group: group,
        StatementRef: statementReference,
        SubStatement: subStatement,
      },
      "Activity",
    ),
    stored: timestamp.optional(),
    authority: authority.optional(),
    version: z
      .string()
      .regex(/^1\.0(?:\.\d+)?$/, "is not 1.0, as of xAPI 1.0.3")
      .optional(),
  })
  .refine(onlyOfActivities, onlyOfActivitiesMessage)
  .refine(
    ({ verb: { id }, object }) => id !== voided || (isObject(object) && object["objectType"] === "StatementRef"),
    "voids no statement: its object must be a StatementRef",
  );

export type Statement = z.infer<typeof statement>;

/** The statements of a body: one or a list. Returns the first problem as text. */
export function readStatements(body: unknown): { statements: Statement[] } | { problem: string } {
  const list = Array.isArray(body) ? body : [body];
  const statements: Statement[] = [];
  for (const [index, one] of list.entries()) {
    const parsed = statement.safeParse(one);
    if (parsed.success) {
      statements.push(parsed.data);
      continue;
    }
    const [issue] = parsed.error.issues;
    const path = [...(Array.isArray(body) ? [index] : []), ...(issue?.path ?? [])].map(String).join(".");
    return { problem: `${path === "" ? "the statement" : `"${path.slice(0, 100)}"`}: ${issue?.message ?? "invalid"}` };
  }
  return { statements };
}

/** Attachments of a statement and of its sub-statement. */
export function attachmentsOf({ attachments: own = [], object }: Statement): z.infer<typeof attachment>[] {
  const inner = isObject(object) && object["objectType"] === "SubStatement" ? (object as Json)["attachments"] : [];
  return [...own, ...((inner ?? []) as z.infer<typeof attachment>[])];
}

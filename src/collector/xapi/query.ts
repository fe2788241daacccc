import { z } from "zod";
import type { Json } from "../dialect.ts";
import { agent, timestamp, uuid } from "./statement.ts";

/* Parameters of the resources. Names that a resource does not have are refused. */

const iri = z
  .string()
  .max(2000)
  .regex(/^[a-z][a-z\d+.-]*:[^\s<>"{}|\\^`]+$/i, "is not an IRI with a scheme");

const flag = z.enum(["true", "false"]).transform((value) => value === "true");

/** An agent, or a group with an identifier, in JSON. */
const json = z
  .string()
  .max(10_000)
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: "is not JSON" });
      return z.NEVER;
    }
  });
const agentJson = json.pipe(agent);
const identified = z.unknown().transform((value, context): Json => {
  const object = (typeof value === "object" && value !== null ? value : {}) as Json;
  const isGroup = object["objectType"] === "Group";
  const { objectType, member, ...rest } = object;
  const parsed = agent.safeParse(isGroup ? rest : value);
  if (parsed.success) return { ...parsed.data, ...(isGroup ? { objectType } : {}) } as Json;
  context.addIssue({ code: "custom", message: "is not an agent or group with one identifier" });
  return z.NEVER;
});

const shared = { attachments: flag.optional(), format: z.enum(["ids", "exact", "canonical"]).optional() };

export const statementQuery = z.strictObject({
  agent: json.pipe(identified).optional(),
  verb: iri.optional(),
  activity: iri.optional(),
  registration: uuid.optional(),
  related_activities: flag.optional(),
  related_agents: flag.optional(),
  since: timestamp.optional(),
  until: timestamp.optional(),
  limit: z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .optional(),
  ascending: flag.optional(),
  /** The start of a further page: in links `more` only. */
  start: timestamp.optional(),
  ...shared,
});

export const oneStatement = z.union([
  z.strictObject({ statementId: uuid, ...shared }),
  z.strictObject({ voidedStatementId: uuid, ...shared }),
]);

export const putStatement = z.strictObject({ statementId: uuid });
export const nothing = z.strictObject({});
export const agentQuery = z.strictObject({ agent: agentJson });
export const activityQuery = z.strictObject({ activityId: iri });

const id = z.string().min(1).max(1000);

/** Where documents of a kind are: all fields but the id are needed. */
const state = { activityId: iri, agent: agentJson, registration: uuid.optional() };
const since = timestamp.optional();

export const documents = {
  state: {
    id: "stateId",
    one: z.strictObject({ ...state, stateId: id }),
    list: z.strictObject({ ...state, since }),
    all: z.strictObject(state),
  },
  agent: {
    id: "profileId",
    one: z.strictObject({ agent: agentJson, profileId: id }),
    list: z.strictObject({ agent: agentJson, since }),
    all: undefined,
  },
  activity: {
    id: "profileId",
    one: z.strictObject({ activityId: iri, profileId: id }),
    list: z.strictObject({ activityId: iri, since }),
    all: undefined,
  },
} as const;

export type Kind = keyof typeof documents;

import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, parse as parsePath } from "node:path";
import { SafeError } from "postgraphile/grafast";
import { type GraphQLSchema, parse, validate } from "postgraphile/graphql";
import { z } from "zod";
import * as documents from "../dashboard/operations.ts";
import { operationsOfViews } from "../dashboard/views.ts";
import { InsightsError } from "../errors.ts";
import type { Role } from "./authentication.ts";

/*
 * Persisted operations: the operations of an application, by id. With them, visitors, learners and instructors may send
 * no others, so that they can request only what the application requests.
 */

/** The documents by their id. */
export type Operations = ReadonlyMap<string, string>;

/** Roles of people who use applications; the others write queries of their own. */
const restricted: ReadonlySet<Role> = new Set(["visitor", "learner", "instructor"]);

/** The file that Relay and GraphQL Code Generator write, or Apollo's manifest. */
const manifest = z.union([
  z
    .object({
      format: z.literal("apollo-persisted-query-manifest"),
      operations: z.array(z.object({ id: z.string(), body: z.string() })),
    })
    .transform(({ operations }) => operations.map(({ id, body }) => [id, body] as const)),
  z.record(z.string(), z.string()).transform((documents) => Object.entries(documents)),
]);

const hint =
  'A directory contains files <id>.graphql; a file is a JSON object {"<id>": "<document>"}, as Relay and GraphQL Code ' +
  "Generator write it, or Apollo's manifest.";

async function readEntries(path: string): Promise<(readonly [string, string])[]> {
  try {
    if ((await stat(path)).isDirectory()) {
      const files = (await readdir(path)).filter((file) => /\.(graphql|gql)$/.test(file)).sort();
      return await Promise.all(
        files.map(async (file) => [parsePath(file).name, await readFile(join(path, file), "utf8")] as const),
      );
    }
    return manifest.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    const reason = error instanceof z.ZodError ? "it has another form" : error instanceof Error ? error.message : error;
    throw new InsightsError(`the operations in ${path} cannot be read: ${reason}`, { hint });
  }
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

/** The operations of the server's own pages, which it accepts beside those of applications. */
export const pageOperations = (): Operations =>
  new Map(Object.values(documents).map(({ text }) => [hashOf(text), text]));

/** The operations of a page, for tokens that are limited to it; none for an unknown page. */
export function viewOperations(view: string): Operations {
  const names: readonly string[] = Object.hasOwn(operationsOfViews, view) ? (operationsOfViews[view] ?? []) : [];
  const own = Object.entries(documents).filter(([name]) => names.includes(name));
  return new Map(own.map(([, { text }]) => [hashOf(text), text]));
}

/** Reads the operations of a directory or file, and checks each against the schema. */
export async function readOperations(path: string, schema: GraphQLSchema): Promise<Operations> {
  const entries = await readEntries(path);
  if (entries.length === 0) throw new InsightsError(`there are no operations in ${path}`, { hint });
  const operations = new Map<string, string>();
  for (const [id, document] of entries) {
    const wrong = (reason: string): InsightsError =>
      new InsightsError(`operation "${id.slice(0, 100)}" of ${path}: ${reason}`, {
        hint: "Compare it with schema.graphql of this version.",
      });
    if (operations.has(id)) throw wrong("there are two with this id");
    try {
      const [error] = validate(schema, parse(document));
      if (error !== undefined) throw error;
    } catch (error) {
      throw wrong(error instanceof Error ? error.message : String(error));
    }
    operations.set(id, document);
    // Apollo's clients send the hash of the document, whatever its id is; a file may end with a line break.
    for (const text of [document, document.trim()]) {
      operations.set(hashOf(text), document);
    }
  }
  return operations;
}

type Body = Partial<Record<"query" | "id" | "documentId" | "extensions", unknown>>;

const apollo = z.object({ persistedQuery: z.object({ sha256Hash: z.string() }) });

/** `documentId` is the name of the specification GraphQL over HTTP and of Relay. */
function idOf({ documentId, id, extensions }: Body): string | undefined {
  const given = documentId ?? id ?? apollo.safeParse(extensions).data?.persistedQuery.sha256Hash;
  return given === undefined || given === null ? undefined : String(given);
}

/** Puts the document of the request's id in its place; refuses any other document of a sender who may send only these. */
export function applyOperation(body: Body, operations: Operations, role: Role): void {
  const id = idOf(body);
  if (id !== undefined) {
    const document = operations.get(id);
    if (document !== undefined) body.query = document;
    else if (typeof body.query !== "string" || restricted.has(role)) {
      throw new SafeError(`there is no operation "${id.slice(0, 100)}"`, {
        statusCode: 404,
        code: "CF002",
        hint: "Send the id of an operation that this server has read at its start (INSIGHTS_OPERATIONS).",
      });
    }
  } else if (restricted.has(role) && !operations.has(hashOf(String(body.query)))) {
    throw new SafeError("this server accepts only the operations of its applications", {
      statusCode: 403,
      code: "42501",
      hint: 'Send {"documentId": "<id>"} in place of "query"; the operations are those of INSIGHTS_OPERATIONS.',
    });
  }
}

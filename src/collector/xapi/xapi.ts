import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { z } from "zod";
import type { Addresses } from "../../api/addresses.ts";
import type { Admission, Admitted } from "../../api/admission.ts";
import { AuthenticationError, requestSettings } from "../../api/authentication.ts";
import type { Bodies } from "../../api/bodies.ts";
import type { Gate } from "../../api/connections.ts";
import type { Measurements } from "../../api/measurements.ts";
import type { Run } from "../../api/run-as.ts";
import { errorCode, errorField } from "../../errors.ts";
import type { Decoder } from "../decode.ts";
import { isObject, type Json } from "../dialect.ts";
import { createGroups, type Part as Group } from "../groups.ts";
import { formatted, languagesOf } from "./formats.ts";
import { type Part, parameterOf, readParts, sha2Of, writeParts } from "./multipart.ts";
import * as query from "./query.ts";
import { signatureProblem } from "./signature.ts";
import { attachmentsOf, readStatements, type Statement } from "./statement.ts";
import { eventOf } from "./translate.ts";

/*
 * A Learning Record Store of xAPI 1.0.3 at /xapi. The write key is the user of Basic; a password is ignored. Statements
 * and documents are stored and found by functions of the room `track`: here are their structure, HTTP, and formats.
 */

export const bounds = {
  /** Statements of a request. */
  statements: 1000,
  /** Statements of a page, and without a limit. */
  page: 500,
  defaultPage: 100,
  /** Parts of a multipart body. */
  parts: 1001,
} as const;

const version = "1.0.3";
const consistentThrough = "x-experience-api-consistent-through";

const resources = [
  "statements",
  "about",
  "agents",
  "activities",
  "activities/state",
  "agents/profile",
  "activities/profile",
] as const;
type Resource = (typeof resources)[number];

/** The resource of a path below /xapi; undefined for another one. */
export function resourceOf(path: string): Resource | undefined {
  const [, name] = /^\/xapi\/([a-z/]+?)\/?$/.exec(path) ?? [];
  return resources.find((resource) => resource === name);
}

export const isXapi = (path: string): boolean => path === "/xapi" || path.startsWith("/xapi/");

/** Names of the resources in measurements. */
export const xapiRoutes: ReadonlySet<string> = new Set(resources.map((resource) => `/xapi/${resource}`));

/** An error with the status that xAPI demands. */
export class XapiError extends Error {
  readonly statusCode: number;
  readonly code: string;
  readonly hint: string;

  constructor(statusCode: number, message: string, hint: string, code = "CF009") {
    super(message);
    this.name = "XapiError";
    this.statusCode = statusCode;
    this.code = code;
    this.hint = hint;
  }
}

const bad = (message: string, hint = "See the specification of xAPI 1.0.3."): XapiError =>
  new XapiError(400, message, hint);

const statuses: Readonly<Record<string, number>> = { CF002: 404, CF005: 403, CF008: 413, CF010: 409 };

/** A request, also one in the alternate syntax, in which all of it is a form. */
interface Call {
  readonly method: string;
  readonly resource: Resource;
  readonly parameters: Readonly<Record<string, string>>;
  header(name: string): string | undefined;
  readonly admitted: Admitted;
  /** Undefined without one. */
  readonly body: Buffer | undefined;
}

interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

const json = (status: number, value: unknown, headers: Record<string, string> = {}): Reply => ({
  status,
  headers: { "content-type": "application/json; charset=utf-8", ...headers },
  body: JSON.stringify(value),
});

export const xapiPreflight = {
  "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  "access-control-allow-headers":
    "authorization, content-type, accept, accept-language, if-match, if-none-match, x-experience-api-version, x-write-key",
  "access-control-max-age": "86400",
};

/** The parameters of a form or query. A repeated one is refused. */
function parametersOf(form: URLSearchParams): Record<string, string> {
  const parameters: Record<string, string> = {};
  for (const [name, value] of form) {
    if (Object.hasOwn(parameters, name)) throw bad(`the parameter "${name.slice(0, 100)}" is given twice`);
    if (name === "__proto__") throw bad(`there is no parameter "${name}"`);
    parameters[name] = value;
  }
  return parameters;
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  parameters: Readonly<Record<string, string>>,
): z.infer<Schema> {
  const parsed = schema.safeParse(parameters);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys") {
    throw bad(`there is no parameter "${issue.keys[0]?.slice(0, 100)}" here`);
  }
  const name = String(issue?.path[0] ?? "").slice(0, 100);
  const missing = name !== "" && parameters[name] === undefined;
  throw bad(
    missing ? `the parameter "${name}" is missing` : `the parameter "${name}" ${issue?.message ?? "is invalid"}`,
  );
}

/** Headers that a form in the alternate syntax may have. */
const formHeaders: ReadonlySet<string> = new Set([
  "authorization",
  "x-experience-api-version",
  "content-type",
  "content-length",
  "if-match",
  "if-none-match",
  "accept",
  "accept-language",
]);

export interface Xapi {
  /** Answers a request below /xapi. Rejects with what refused it. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** Statements of a request, in JSON with their events. Those of several requests are stored together. */
interface Sent extends Group {
  texts: string[];
  ids: string[];
  /** In base64, by hash. */
  attachments: Readonly<Record<string, string>>;
}

/** The role of a request, which has a share of the connections. */
const roleOf = ({ sender, key }: Admitted): string =>
  key?.level === "server" ? "insights_worker" : `insights_${sender.role}`;

export function createXapi({
  admission,
  bodies,
  decoder,
  run,
  gate,
  measurements,
  addresses,
  maxWait,
}: {
  admission: Admission;
  bodies: Bodies;
  decoder: Decoder;
  run: Run;
  gate: Gate;
  measurements: Measurements;
  addresses: Addresses;
  maxWait: number;
}): Xapi {
  const groups = createGroups<Sent, void>(gate, {
    maxWait,
    // The database stores the statements of a source one batch after the other.
    width: 1,
    newGroup() {
      const known = new Set<string>();
      return ({ ids }) => {
        if (ids.some((id) => known.has(id))) return false;
        for (const id of ids) known.add(id);
        return true;
      };
    },
    async store(settings, parts) {
      const attachments = Object.assign({}, ...parts.map((part) => part.attachments));
      await run(settings, "select track.store_statements($1::text::jsonb)", [
        `{"statements":[${parts.flatMap(({ texts }) => texts).join(",")}],"attachments":${JSON.stringify(attachments)}}`,
      ]);
      return parts.map(() => undefined);
    },
  });

  /** The sender. A password beside the write key is ignored: many clients do not work without one. */
  async function admit(request: IncomingMessage): Promise<Admitted> {
    const { authorization, "x-write-key": own } = request.headers;
    if (authorization === undefined && own === undefined) {
      throw new AuthenticationError("the request has no write key", {
        code: "CF005",
        hint: "Send Authorization: Basic with the write key as user name.",
      });
    }
    const [, encoded] = /^Basic +([\w+/=-]+)$/i.exec(authorization?.trim() ?? "") ?? [];
    if (encoded !== undefined) {
      const [user] = Buffer.from(encoded, "base64").toString("latin1").split(":");
      request.headers.authorization = `Basic ${Buffer.from(`${user}:`, "latin1").toString("base64")}`;
    }
    return await admission.admit(request);
  }

  async function receive(request: IncomingMessage, response: ServerResponse, who: Admitted, isUnknown = false) {
    const {
      sender: { role, person, address },
      key,
    } = who;
    const body = await bodies.read(request, response, {
      role,
      person,
      address,
      server: key?.level === "server",
      isUnknown,
    });
    measurements.received(request);
    return body;
  }

  const hasBody = ({ headers }: IncomingMessage): boolean =>
    Number(headers["content-length"] ?? 0) > 0 || headers["transfer-encoding"] !== undefined;

  async function readCall(request: IncomingMessage, response: ServerResponse, resource: Resource): Promise<Call> {
    const { method: sent = "GET", url = "" } = request;
    const parameters = parametersOf(new URL(url, "http://localhost").searchParams);
    const method = sent === "HEAD" ? "GET" : sent;
    const header = (name: string): string | undefined => {
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    };
    if (sent !== "POST" || !("method" in parameters)) {
      const admitted = resource === "about" ? admission.unknown(request) : await admit(request);
      const body =
        method === "GET" || method === "DELETE" || !hasBody(request)
          ? undefined
          : await receive(request, response, admitted);
      return { method, resource, parameters, header, admitted, body };
    }

    const stated = parameters["method"] ?? "";
    if (!["GET", "PUT", "POST", "DELETE", "HEAD"].includes(stated) || Object.keys(parameters).length > 1) {
      throw bad(`"${stated.slice(0, 100)}" is not a method of the alternate syntax, or the URL has further parameters`);
    }
    if (!/^application\/x-www-form-urlencoded\b/i.test(header("content-type") ?? "")) {
      throw bad("the alternate syntax needs the content type application/x-www-form-urlencoded");
    }
    const inHeaders = request.headers.authorization !== undefined || request.headers["x-write-key"] !== undefined;
    const known = inHeaders ? await admit(request) : undefined;
    const bytes = await receive(request, response, known ?? admission.unknown(request), known === undefined);
    const form = parametersOf(new URLSearchParams(bytes.toString("utf8")));
    const headers: Record<string, string> = {};
    const fields: Record<string, string> = {};
    let contents: string | undefined;
    for (const [name, value] of Object.entries(form)) {
      if (formHeaders.has(name.toLowerCase())) headers[name.toLowerCase()] = value;
      else if (name === "content") contents = value;
      else fields[name] = value;
    }
    if ((stated === "PUT" || stated === "POST") && contents === undefined) {
      throw bad('the form has no field "content"', "The alternate syntax sends the body in this field.");
    }
    if (known === undefined && headers["authorization"] !== undefined) {
      request.headers.authorization = headers["authorization"];
    }
    return {
      method: stated === "HEAD" ? "GET" : stated,
      resource,
      parameters: fields,
      header: (name) => headers[name] ?? (name === "content-type" ? "application/json" : header(name)),
      admitted: known ?? (await admit(request)),
      body: contents === undefined ? undefined : Buffer.from(contents, "utf8"),
    };
  }

  /** Runs one statement as the sender, when it is her turn. */
  async function ask<Row extends object>(admitted: Admitted, text: string, values: unknown[]): Promise<Row[]> {
    const { sender, key } = admitted;
    const leave = await gate.enter(roleOf(admitted), key?.level === "server" ? "" : (sender.person ?? sender.address));
    try {
      return await run<Row>(requestSettings(sender), text, values);
    } finally {
      leave();
    }
  }

  /* ---------------------------------------------------------------------------------------------- statements -- */

  /** The JSON of a body, and its attachments. */
  async function readBody(call: Call, response: ServerResponse): Promise<{ value: unknown; parts: readonly Part[] }> {
    const type = call.header("content-type") ?? "";
    const { body } = call;
    if (body === undefined || body.length === 0) throw bad("the request has no body", "Send a statement in JSON.");
    if (/^application\/json\b/i.test(type)) return { value: await decoder.decode(body, response), parts: [] };
    if (!/^multipart\/mixed\b/i.test(type)) {
      throw bad(
        `the content type is "${type.slice(0, 100)}"`,
        "Send application/json, or multipart/mixed for statements with attachments.",
      );
    }
    const boundary = parameterOf(type, "boundary");
    const parts = boundary === undefined || boundary === "" ? undefined : readParts(body, boundary, bounds.parts);
    const [first, ...others] = parts ?? [];
    if (first === undefined || !/^application\/json\b/i.test(first.headers.get("content-type") ?? "")) {
      throw bad(
        "the body is not multipart/mixed with a first part of application/json",
        "State the boundary in Content-Type, and begin each part with it.",
      );
    }
    return { value: await decoder.decode(first.contents, response), parts: others };
  }

  /** The contents of attachments by their hashes. Each part belongs to an attachment, and each of these has one or a URL. */
  function readAttachments(statements: readonly Statement[], parts: readonly Part[]): Map<string, Buffer> {
    const attachments = statements.flatMap(attachmentsOf);
    const named = new Map(attachments.map((one) => [one.sha2.toLowerCase(), one]));
    const contents = new Map<string, Buffer>();
    for (const { headers, contents: bytes } of parts) {
      const hash = headers.get("x-experience-api-hash")?.toLowerCase();
      if (hash === undefined) throw bad("a part has no X-Experience-API-Hash");
      if (headers.get("content-transfer-encoding")?.toLowerCase() !== "binary")
        throw bad("a part has no Content-Transfer-Encoding: binary");
      if (!named.has(hash)) throw bad(`no statement has the attachment ${hash.slice(0, 100)}`);
      if (sha2Of(bytes, hash.length) !== hash) throw bad(`the contents of ${hash.slice(0, 100)} have another hash`);
      contents.set(hash, bytes);
    }
    for (const { sha2, fileUrl } of attachments) {
      if (fileUrl === undefined && !contents.has(sha2.toLowerCase())) {
        throw bad(`the attachment ${sha2} has neither contents nor a fileUrl`);
      }
    }
    return contents;
  }

  async function storeStatements(
    call: Call,
    request: IncomingMessage,
    response: ServerResponse,
    id: string | undefined,
  ): Promise<string[]> {
    const { value, parts } = await readBody(call, response);
    if (id !== undefined && !isObject(value)) throw bad("PUT stores one statement", "Send several by POST.");
    if (Array.isArray(value) && value.length > bounds.statements) {
      throw new XapiError(
        413,
        `the request has ${value.length} statements`,
        `Send at most ${bounds.statements}; split the batch.`,
        "CF008",
      );
    }
    const read = readStatements(value);
    if ("problem" in read) throw bad(read.problem);
    const { statements } = read;
    const contents = readAttachments(statements, parts);
    for (const one of statements) {
      const problem = signatureProblem(one, contents);
      if (problem !== undefined) throw bad(problem, "See Signed Statements in the specification of xAPI 1.0.3.");
    }
    const { secure, host } = addresses.target(request);
    const { source } = admission.sourceOf(request);
    const homePage = `${secure ? "https" : "http"}://${/^[\w.:[\]-]{1,250}$/.test(host) ? host : "localhost"}/xapi`;
    const entries = statements.map((one) => {
      if (id !== undefined && one.id !== undefined && one.id !== id)
        throw bad(`the statement has the id ${one.id}, and the parameter is ${id}`);
      const { stored: _stored, authority: _authority, ...sent } = one;
      return {
        statement: {
          ...sent,
          id: one.id ?? id ?? randomUUID(),
          version: one.version ?? "1.0.0",
          authority: { objectType: "Agent", account: { homePage, name: source } },
        },
        event: eventOf(one) ?? null,
        attachment_bytes: attachmentsOf(one).reduce(
          (sum, { sha2 }) => sum + (contents.get(sha2.toLowerCase())?.length ?? 0),
          0,
        ),
      };
    });
    if (entries.length === 0) return [];
    const attachments = Object.fromEntries([...contents].map(([hash, bytes]) => [hash, bytes.toString("base64")]));
    const texts = entries.map((entry) => JSON.stringify(entry));
    await groups.store(requestSettings(call.admitted.sender), "", roleOf(call.admitted), [
      {
        texts,
        attachments,
        ids: entries.map(({ statement }) => statement.id),
        count: entries.length,
        bytes: [...texts, ...Object.values(attachments)].reduce((sum, text) => sum + Buffer.byteLength(text), 0),
      },
    ]);
    measurements.stored(request, entries.length);
    return entries.map(({ statement }) => statement.id);
  }

  interface Page {
    statements: Json[] | null;
    next: string | null;
    consistent_through: Date | null;
  }

  /** The answer with attachments, or without. */
  async function withAttachments(
    call: Call,
    value: unknown,
    statements: readonly Json[],
    wanted: boolean,
    headers: Record<string, string>,
  ): Promise<Reply> {
    if (!wanted) return json(200, value, headers);
    const types = new Map<string, string>();
    for (const { sha2, contentType } of statements.flatMap((one) => attachmentsOf(one as unknown as Statement)))
      types.set(sha2.toLowerCase(), contentType);
    const rows =
      types.size === 0
        ? []
        : await ask<{ sha2: string; contents: Buffer }>(
            call.admitted,
            "select sha2, contents from track.statement_attachments($1)",
            [[...types.keys()]],
          );
    const { type, body } = writeParts(
      JSON.stringify(value),
      rows.map((row) => ({ ...row, contentType: types.get(row.sha2) ?? "application/octet-stream" })),
    );
    return { status: 200, headers: { ...headers, "content-type": type }, body };
  }

  async function readStatementsOf(call: Call, response: ServerResponse): Promise<Reply> {
    const { parameters } = call;
    const one = "statementId" in parameters || "voidedStatementId" in parameters;
    const ranges = languagesOf(call.header("accept-language"));
    const asked = one ? check(query.oneStatement, parameters) : check(query.statementQuery, parameters);
    const { format = "exact", attachments = false, ...conditions } = asked;
    const limit = "limit" in conditions ? conditions.limit : undefined;
    const sent = one
      ? conditions
      : {
          ...conditions,
          attachments,
          limit: Math.min(limit || (limit === 0 ? bounds.page : bounds.defaultPage), bounds.page),
        };
    const [page] = await ask<Page>(call.admitted, "select * from track.statements($1::jsonb)", [JSON.stringify(sent)]);
    const statements = page?.statements ?? [];
    response.setHeader(consistentThrough, (page?.consistent_through ?? new Date(0)).toISOString());
    const shown = statements.map((statement) => formatted(statement, format, ranges));
    if (one) {
      const [first] = shown;
      if (first === undefined) throw new XapiError(404, "there is no such statement", "Compare its id.", "CF002");
      const stored = new Date(String(statements[0]?.["stored"])).toUTCString();
      return await withAttachments(call, first, statements, attachments, { "last-modified": stored });
    }
    const more = new URLSearchParams({ ...parameters, start: page?.next ?? "" });
    const value = { statements: shown, more: page?.next == null ? "" : `/xapi/statements?${more}` };
    return await withAttachments(call, value, statements, attachments, {});
  }

  async function statementsResource(call: Call, request: IncomingMessage, response: ServerResponse): Promise<Reply> {
    switch (call.method) {
      case "GET":
        return await readStatementsOf(call, response).catch(async (error: unknown) => {
          // The specification demands the header also with an error.
          if (!response.hasHeader(consistentThrough)) {
            const [page] = await ask<Page>(call.admitted, "select * from track.statements($1::jsonb)", [
              JSON.stringify({ statementId: "00000000-0000-0000-0000-000000000000" }),
            ]).catch(() => []);
            if (page?.consistent_through) response.setHeader(consistentThrough, page.consistent_through.toISOString());
          }
          throw error;
        });
      case "PUT": {
        const { statementId } = check(query.putStatement, call.parameters);
        await storeStatements(call, request, response, statementId);
        return { status: 204 };
      }
      case "POST":
        check(query.nothing, call.parameters);
        return json(200, await storeStatements(call, request, response, undefined));
      default:
        throw notAllowed(call.method);
    }
  }

  /* ----------------------------------------------------------------------------------------------- documents -- */

  const notAllowed = (method: string): XapiError =>
    new XapiError(405, `${method.slice(0, 20)} is not a method of this resource`, "See docs/clients.md.", "CF002");

  interface Document {
    content_type: string | null;
    contents: Buffer;
    tag: string;
    updated_at: Date;
  }

  async function documentsResource(call: Call, kind: query.Kind): Promise<Reply> {
    const { method, parameters, admitted, header } = call;
    const { id: idName, one, list, all } = query.documents[kind];
    const single = idName in parameters || method === "PUT" || method === "POST";
    const schema = single ? one : method === "GET" ? list : (all ?? one);
    const asked: Json = check(schema as z.ZodType<Json>, parameters);
    const place = JSON.stringify({
      kind,
      activity: asked["activityId"],
      agent: asked["agent"],
      registration: asked["registration"],
      id: asked[idName],
    });
    const conditions = [header("if-match") ?? "", header("if-none-match") ?? ""];
    switch (method) {
      case "GET": {
        if (!single) {
          const [row] = await ask<{ ids: string[] }>(
            admitted,
            "select track.stored_documents($1::jsonb, $2::timestamptz) as ids",
            [place, asked["since"] ?? null],
          );
          return json(200, row?.ids ?? []);
        }
        const [found] = await ask<Document>(
          admitted,
          "select *, left(encode(sha256(contents), 'hex'), 40) as tag from track.stored_document($1::jsonb)",
          [place],
        );
        if (found === undefined || found.content_type === null)
          throw new XapiError(404, "there is no such document", "Compare its id.", "CF002");
        const headers = {
          "content-type": found.content_type,
          etag: `"${found.tag}"`,
          "last-modified": found.updated_at.toUTCString(),
        };
        return { status: 200, headers, body: found.contents };
      }
      case "PUT":
      case "POST": {
        const contents = call.body ?? Buffer.alloc(0);
        const type = header("content-type") ?? "application/octet-stream";
        if (!/^[\w.+*-]+\/[\w.+*-]+(?:\s*;[\x20-\x7e]*)?$/.test(type))
          throw bad("the content type is not a media type");
        if (/^application\/json\b/i.test(type)) checkDocument(contents);
        await ask(admitted, "select track.store_document($1::jsonb, $2, $3, $4, $5, $6)", [
          place,
          contents,
          type,
          method === "POST",
          ...conditions,
        ]);
        return { status: 204 };
      }
      case "DELETE":
        await ask(admitted, "select track.delete_documents($1::jsonb, $2, $3)", [place, ...conditions]);
        return { status: 204 };
      default:
        throw notAllowed(method);
    }
  }

  function checkDocument(contents: Buffer): void {
    try {
      JSON.parse(contents.toString("utf8"));
    } catch {
      throw bad("the document is not JSON", "Send JSON, or another content type.");
    }
  }

  /* ------------------------------------------------------------------------------------------------- answers -- */

  async function answer(call: Call, request: IncomingMessage, response: ServerResponse): Promise<Reply> {
    const { resource, method, parameters, admitted } = call;
    switch (resource) {
      case "statements":
        return await statementsResource(call, request, response);
      case "activities/state":
        return await documentsResource(call, "state");
      case "agents/profile":
        return await documentsResource(call, "agent");
      case "activities/profile":
        return await documentsResource(call, "activity");
      default:
    }
    if (method !== "GET") throw notAllowed(method);
    switch (resource) {
      case "agents": {
        const { agent } = check(query.agentQuery, parameters);
        const [row] = await ask<{ names: string[] }>(admitted, "select track.statement_agent($1::jsonb) as names", [
          JSON.stringify(agent),
        ]);
        const { name, objectType: _type, ...identifier } = agent;
        const names = [...new Set([...(row?.names ?? []), ...(name === undefined ? [] : [name])])];
        const listed = Object.entries(identifier).map(([key, value]) => [key, [value]]);
        return json(200, {
          objectType: "Person",
          ...(names.length > 0 ? { name: names } : {}),
          ...Object.fromEntries(listed),
        });
      }
      case "activities": {
        const { activityId } = check(query.activityQuery, parameters);
        const [row] = await ask<{ definition: Json | null }>(
          admitted,
          "select track.statement_activity($1) as definition",
          [activityId],
        );
        const definition = row?.definition;
        return json(200, { objectType: "Activity", id: activityId, ...(definition ? { definition } : {}) });
      }
      default:
        check(query.nothing, parameters);
        return json(200, { version: [version], extensions: {} });
    }
  }

  /** Errors of the database with the status that xAPI demands. */
  function translated(error: unknown, call: Call | undefined): unknown {
    const code = errorCode(error);
    if (code === undefined || typeof error !== "object" || error === null || !("severity" in error)) return error;
    if (code === "40P01" || code === "40001") {
      return new XapiError(503, "other requests changed the same data", "Try again.", code);
    }
    if (code === "42501") {
      return new XapiError(403, "not allowed", "Use a key of the level server, without the token of a person.", code);
    }
    const message = errorField(error, "message") ?? code;
    if (/^CF\d{3}$/.test(code)) {
      const conditional = code === "CF010" && (call?.header("if-match") ?? call?.header("if-none-match")) !== undefined;
      const hint = errorField(error, "hint") ?? "";
      return new XapiError(conditional ? 412 : (statuses[code] ?? 400), message, hint, code);
    }
    if (/^22/.test(code)) {
      return bad(
        "a value cannot be stored",
        "Send well-formed Unicode without U+0000, and numbers of double precision.",
      );
    }
    return error;
  }

  return {
    async handle(request, response) {
      const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
      const resource = resourceOf(path);
      if (resource === undefined)
        throw new XapiError(404, "there is no such resource of xAPI", `See ${resources.join(", ")}.`, "CF002");
      response.setHeader("x-experience-api-version", version);
      let call: Call | undefined;
      let reply: Reply;
      try {
        call = await readCall(request, response, resource);
        const stated = call.header("x-experience-api-version");
        if (resource !== "about" && !/^1\.0(?:\.\d+)?$/.test(stated ?? "")) {
          throw bad(
            `the header X-Experience-API-Version is ${stated === undefined ? "missing" : `"${stated.slice(0, 100)}"`}`,
            `Send ${version}.`,
          );
        }
        reply = await answer(call, request, response);
      } catch (error) {
        throw translated(error, call);
      }
      const { status, headers = {}, body = "" } = reply;
      const length = status === 204 ? {} : { "content-length": Buffer.byteLength(body) };
      response.writeHead(status, { "cache-control": "no-store", ...headers, ...length });
      response.end(request.method === "HEAD" || status === 204 ? undefined : body);
    },
  };
}

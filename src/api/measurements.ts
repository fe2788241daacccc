import "postgraphile/grafserv/node";
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  type SelectionSetNode,
  type ValueNode,
} from "postgraphile/graphql";
import { isFailure } from "./errors.ts";

/*
 * Measures requests by operation: a root field of the schema, or a route of the server. Nothing that a client sends
 * becomes the name of an operation: its own names, paths and headers do not.
 */

/** How a request ended. */
export type Outcome =
  | "ok"
  /** An error of the client: invalid, not allowed, too large, too many. */
  | "refused"
  | "busy"
  /** An error of the server or the database. */
  | "failed"
  /** The client closed the connection before the answer. */
  | "closed";

export interface Measured {
  operation: string;
  outcome: Outcome;
  /**
   * From the last byte of the request to the answer, without the time that the client takes to send and to receive.
   * Undefined for a request that was refused before it was executed, whose answer may be delayed on purpose.
   */
  seconds: number | undefined;
  /** Messages in the batches of `trackIngest`. */
  messages: number;
}

/** An operation with several root fields, whose time belongs to none of them alone. */
export const severalFields = "several fields";
export const introspection = "introspection";

/** Elements of a list in JSON. Its form is not checked; the database does that. */
export function countElements(json: string): number {
  let depth = 0;
  let inString = false;
  let commas = 0;
  let content = false;
  for (let index = 0; index < json.length; index += 1) {
    const character = json.charCodeAt(index);
    if (inString) {
      if (character === 0x5c) index += 1;
      else if (character === 0x22) inString = false;
      continue;
    }
    if (character <= 0x20) continue;
    if (character === 0x5d || character === 0x7d) {
      depth -= 1;
      continue;
    }
    if (depth === 0 && character !== 0x5b) return 0;
    if (depth > 0) content = true;
    if (character === 0x22) inString = true;
    else if (character === 0x5b || character === 0x7b) depth += 1;
    else if (character === 0x2c && depth === 1) commas += 1;
  }
  return content ? commas + 1 : 0;
}

type Variables = Readonly<Record<string, unknown>>;

function argumentValue(node: ValueNode | undefined, name: string | undefined, variables: Variables): unknown {
  if (node?.kind === Kind.VARIABLE) {
    const value = variables[node.name.value];
    return name === undefined ? value : Object(value)[name];
  }
  if (name !== undefined && node?.kind === Kind.OBJECT) {
    return argumentValue(node.fields.find((field) => field.name.value === name)?.value, undefined, variables);
  }
  if (node?.kind === Kind.LIST) return node.values;
  return node?.kind === Kind.STRING ? node.value : undefined;
}

function countMessages(fields: readonly FieldNode[], variables: Variables): number {
  let messages = 0;
  for (const field of fields) {
    if (field.name.value !== "trackIngest") continue;
    const input = field.arguments?.find((argument) => argument.name.value === "input")?.value;
    const batch = argumentValue(input, "batch", variables);
    if (Array.isArray(batch)) messages += batch.length;
    else if (typeof batch === "string") messages += countElements(batch);
  }
  return messages;
}

interface Operation {
  name: string;
  /** Fields that have batches. */
  batches: readonly FieldNode[];
}

/** The operation of a document that the schema has validated. */
function findOperation(schema: GraphQLSchema, document: DocumentNode, operationName: string | undefined): Operation {
  const operation = getOperationAST(document, operationName);
  const root = operation && schema.getRootType(operation.operation);
  const names = new Set<string>();
  const batches: FieldNode[] = [];
  const known = root?.getFields() ?? {};
  const collect = ({ selections }: SelectionSetNode): void => {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        const name = selection.name.value;
        names.add(Object.hasOwn(known, name) ? name : introspection);
        if (name === "trackIngest") batches.push(selection);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet);
      else {
        const fragment = document.definitions.find(
          (definition) =>
            definition.kind === Kind.FRAGMENT_DEFINITION && definition.name.value === selection.name.value,
        );
        if (fragment?.kind === Kind.FRAGMENT_DEFINITION) collect(fragment.selectionSet);
      }
    }
  };
  if (operation) collect(operation.selectionSet);
  const [name = introspection] = names;
  return { name: names.size > 1 ? severalFields : name, batches };
}

interface Running {
  operation: string;
  /** Whether it has reached an operation; otherwise `operation` is the route. */
  executed: boolean;
  isRoute: boolean;
  began: number;
  ended: number | undefined;
  failed: boolean;
  refused: boolean;
  messages: number;
}

export interface Measurements {
  /** Starts with the headers of a request. `timed`: a route that is an operation itself. */
  begin(request: IncomingMessage, response: ServerResponse, route: string, timed: boolean): void;
  /** Its body has been received: the time begins here. */
  received(request: IncomingMessage): void;
  /** Its messages, outside of GraphQL. */
  stored(request: IncomingMessage, messages: number): void;
  /** Requests that are being answered. */
  inProgress(): number;
  readonly plugin: GraphileConfig.Plugin;
}

function outcomeOf(running: Running, response: ServerResponse): Outcome {
  // An answer to a large body that is not read is not ended: see `refuse`.
  if (running.ended === undefined && !response.headersSent) return "closed";
  if (response.statusCode === 503) return "busy";
  if (running.failed || response.statusCode >= 500) return "failed";
  if (running.refused || response.statusCode >= 400) return "refused";
  return running.ended === undefined ? "closed" : "ok";
}

export function createMeasurements(report: (measured: Measured) => void): Measurements {
  const running = new WeakMap<object, Running>();
  /** Documents are parsed once and kept by PostGraphile. */
  const operations = new WeakMap<DocumentNode, Map<string | undefined, Operation>>();
  let open = 0;

  function operationOf(schema: GraphQLSchema, document: DocumentNode, operationName: string | undefined): Operation {
    let named = operations.get(document);
    if (named === undefined) {
      named = new Map();
      operations.set(document, named);
    }
    let operation = named.get(operationName);
    if (operation === undefined) {
      operation = findOperation(schema, document, operationName);
      named.set(operationName, operation);
    }
    return operation;
  }

  return {
    begin(request, response, route, timed) {
      const one: Running = {
        operation: route,
        executed: timed,
        isRoute: timed,
        began: performance.now(),
        ended: undefined,
        failed: false,
        refused: false,
        messages: 0,
      };
      running.set(request, one);
      open += 1;
      // The answer is complete; the client may take its time to receive it.
      response.once("prefinish", () => {
        one.ended = performance.now();
      });
      response.once("close", () => {
        open -= 1;
        const outcome = outcomeOf(one, response);
        report({
          operation: one.operation,
          outcome,
          seconds:
            one.executed && !(one.isRoute && outcome === "refused")
              ? ((one.ended ?? performance.now()) - one.began) / 1000
              : undefined,
          // Those of a refused batch are not stored, and nothing has checked its form.
          messages: outcome === "ok" ? one.messages : 0,
        });
      });
    },
    received(request) {
      const one = running.get(request);
      if (one !== undefined) one.began = performance.now();
    },
    stored(request, messages) {
      const one = running.get(request);
      if (one !== undefined) one.messages = messages;
    },
    inProgress: () => open,
    plugin: {
      name: "InsightsMeasurementsPlugin",
      version: "1.0.0",
      grafast: {
        middleware: {
          execute: {
            before: ["InsightsLimitsPlugin"],
            async callback(next, { args }) {
              const request = args.requestContext?.http?.requestContext.node?.req;
              const one = request && running.get(request);
              if (one === undefined) return await next();
              const operation = operationOf(args.schema, args.document, args.operationName ?? undefined);
              one.operation = operation.name;
              one.executed = true;
              if (operation.batches.length > 0) {
                one.messages = countMessages(operation.batches, args.variableValues ?? {});
              }
              const result = await next();
              if ("errors" in result && result.errors !== undefined && result.errors.length > 0) {
                if (result.errors.some(isFailure)) one.failed = true;
                else one.refused = true;
              }
              return result;
            },
          },
        },
      },
    },
  };
}

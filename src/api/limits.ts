import { depthLimit } from "@graphile/depth-limit";
import { type ExecutableStep, type FieldArgs, lambda, SafeError } from "postgraphile/grafast";
import {
  type ASTVisitor,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  getOperationAST,
  isInterfaceType,
  isListType,
  isObjectType,
  Kind,
  Lexer,
  type SelectionSetNode,
  Source,
  TokenKind,
  type ValidationContext,
  type ValueNode,
} from "postgraphile/graphql";

/** What a request may ask for. Its time is bounded by the preset's timeouts and by `statement_timeout`. */
export const limits = {
  /** Bytes of a request. */
  bytes: 4_000_000,
  /** Characters of an operation, without its variables. */
  operation: 50_000,
  /** Words, numbers, texts and punctuation of an operation: what parsing, checking and remembering it cost. */
  tokens: 5000,
  /** Fields of an operation, fragments and aliases counted as often as they are used. */
  fields: 500,
  /** Operations that are remembered with their plans, of up to some megabytes each: anybody can send many that differ. */
  operations: 100,
  /** Levels of an operation. */
  depth: 12,
  /** Levels of lists and objects in the variables, also of JSON within a string: a database that reads many may not come back. */
  nesting: 200,
  /** Values in the JSON of a request: more cost more memory, once they are read, than the bytes say. */
  values: 250_000,
  /** Rows of a page, and of a list that names no page. */
  rows: 1000,
  /** Rows that an operation may ask for: a page within a page counts once for each row of the outer one. */
  allRows: 100_000,
} as const;

/** How many lists and objects lie within each other in a text, brackets in strings included: more than that there can't be. */
function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charCodeAt(index) | 0x20;
    // [ and { differ from each other in one bit, ] and } likewise.
    if (character === 0x7b) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (character === 0x7d && depth > 0) depth -= 1;
  }
  return deepest;
}

const tooDeep = (): SafeError =>
  new SafeError("lists and objects lie too deep within each other", {
    statusCode: 400,
    code: "CF008",
    hint: `Nest ${limits.nesting} at most.`,
  });

const tooManyValues = (): SafeError =>
  new SafeError(`the request has more than ${limits.values} values`, {
    statusCode: 413,
    code: "CF008",
    hint: "Send fewer at a time; split the batch.",
  });

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;

/** Reads the bytes of a JSON text once, before anything is made of them, and no further than it must. */
export function checkJson(bytes: Uint8Array): void {
  let depth = 0;
  let values = 1;
  let inString = false;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] ?? 0;
    if (inString) {
      if (byte === backslash) index += 1;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (byte === comma) {
      values += 1;
      if (values > limits.values) throw tooManyValues();
    } else if ((byte | 0x20) === 0x7b) {
      depth += 1;
      values += 1;
      if (depth > limits.nesting) throw tooDeep();
    } else if ((byte | 0x20) === 0x7d) depth -= 1;
  }
}

/** The same of what is in the texts of the variables, which may be JSON again. */
function checkVariables(value: unknown, depth = 0): void {
  if (depth > limits.nesting) throw tooDeep();
  if (typeof value === "string") {
    if (nesting(value) > limits.nesting) throw tooDeep();
  } else if (typeof value === "object" && value !== null) {
    for (const element of Array.isArray(value) ? value : Object.values(value)) checkVariables(element, depth + 1);
  }
}

/** Whether a text has more tokens than an operation may have. What is not GraphQL is for the parser to refuse. */
function tooManyTokens(query: string): boolean {
  if (query.length <= limits.tokens) return false;
  try {
    const lexer = new Lexer(new Source(query));
    for (let tokens = 0; tokens <= limits.tokens; tokens += 1) {
      if (lexer.advance().kind === TokenKind.EOF) return false;
    }
    return true;
  } catch {
    return false;
  }
}

/** Counts the fields that a document asks for: what depth alone does not bound. */
export function fieldLimit(context: ValidationContext): ASTVisitor {
  const counts = new Map<string, number>();
  const count = ({ selections }: SelectionSetNode): number => {
    let sum = 0;
    for (const selection of selections) {
      if (selection.kind === Kind.FRAGMENT_SPREAD) sum += countFragment(context.getFragment(selection.name.value));
      else if (selection.kind === Kind.INLINE_FRAGMENT) sum += count(selection.selectionSet);
      else sum += 1 + (selection.selectionSet === undefined ? 0 : count(selection.selectionSet));
    }
    return sum;
  };
  const countFragment = (fragment: FragmentDefinitionNode | null | undefined): number => {
    if (!fragment) return 0;
    const name = fragment.name.value;
    let sum = counts.get(name);
    if (sum === undefined) {
      // A fragment within itself is refused by another rule.
      counts.set(name, 0);
      sum = count(fragment.selectionSet);
      counts.set(name, sum);
    }
    return sum;
  };
  return {
    OperationDefinition(operation) {
      const sum = count(operation.selectionSet);
      if (sum > limits.fields) {
        context.reportError(
          new GraphQLError(`the operation asks for ${sum} fields`, {
            nodes: operation,
            extensions: { code: "CF008", hint: `Ask for ${limits.fields} at most.` },
          }),
        );
      }
    },
  };
}

/** What an operation may answer at most in rows, before anything is executed: `first`, `last` or a full page, multiplied along each path. */
export function countRows(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName: string | null | undefined,
  variables: Readonly<Record<string, unknown>>,
): number {
  const operation = getOperationAST(document, operationName);
  const root = operation && schema.getRootType(operation.operation);
  if (!operation || !root) return 0;
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  const defaults = new Map(operation.variableDefinitions?.map((one) => [one.variable.name.value, one.defaultValue]));
  const numberOf = (value: ValueNode | undefined): number | undefined => {
    const name = value?.kind === Kind.VARIABLE ? value.name.value : undefined;
    const given = name === undefined ? undefined : variables[name];
    if (typeof given === "number") return given;
    const literal = name === undefined ? value : given === undefined ? defaults.get(name) : undefined;
    return literal?.kind === Kind.INT ? Number(literal.value) : undefined;
  };
  const pageOf = (field: FieldNode): number => {
    const argument = (name: string): number | undefined =>
      numberOf(field.arguments?.find((one) => one.name.value === name)?.value);
    return Math.min(limits.rows, Math.max(0, argument("first") ?? argument("last") ?? limits.rows));
  };
  let rows = 0;
  /** `page` is that of the connection whose fields these are. */
  const walk = ({ selections }: SelectionSetNode, type: GraphQLNamedType, times: number, page?: number): void => {
    let counted = false;
    for (const selection of selections) {
      if (rows > limits.allRows) return;
      if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const fragment = fragments.get(selection.name.value);
        const on = fragment && schema.getType(fragment.typeCondition.name.value);
        if (fragment && on) walk(fragment.selectionSet, on, times, page);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        const on = selection.typeCondition && schema.getType(selection.typeCondition.name.value);
        walk(selection.selectionSet, on ?? type, times, page);
      } else if (selection.selectionSet !== undefined && (isObjectType(type) || isInterfaceType(type))) {
        const field = type.getFields()[selection.name.value];
        if (field === undefined) continue;
        const inner = getNamedType(field.type);
        const isPage = isObjectType(inner) && inner.getFields()["pageInfo"] !== undefined;
        if (isPage) walk(selection.selectionSet, inner, times, pageOf(selection));
        else if (page !== undefined && isListType(getNullableType(field.type))) {
          // Of nodes and edges side by side, each is answered, though read once.
          if (!counted) rows += times * page;
          counted = true;
          walk(selection.selectionSet, inner, times * page);
        } else walk(selection.selectionSet, inner, times);
      }
    }
  };
  walk(operation.selectionSet, root, 1);
  return rows;
}

function tooMany(argument: string, value: unknown): SafeError {
  return new SafeError(`"${argument}" is ${value}`, {
    code: typeof value === "number" && value > limits.rows ? "CF008" : "CF001",
    hint: `Ask for 0 to ${limits.rows} rows at a time, and go on after "pageInfo.endCursor".`,
  });
}

function checked(argument: string, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= limits.rows) return value;
  throw tooMany(argument, value);
}

function refuseBoth(first: unknown, last: unknown): void {
  if (first == null || last == null) return;
  throw new SafeError(`both "first" and "last" are given`, {
    code: "CF001",
    hint: `Use "first" with "after" to go forwards, or "last" with "before" to go backwards.`,
  });
}

const boundedFirst = ([first, last, before]: readonly [unknown, unknown, unknown]): number | null => {
  refuseBoth(first, last);
  if (first != null) return checked("first", first);
  return last != null || before != null ? null : limits.rows;
};

const boundedLast = ([first, last, before]: readonly [unknown, unknown, unknown]): number | null =>
  last != null ? checked("last", last) : first == null && before != null ? limits.rows : null;

function boundedOffset(offset: unknown): unknown {
  if (typeof offset !== "number" || offset >= 0) return offset;
  throw new SafeError(`"offset" is ${offset}`, { code: "CF001", hint: "Skip 0 rows or more." });
}

interface Pages {
  setFirst(step: ExecutableStep): void;
  setLast(step: ExecutableStep): void;
  setOffset(step: ExecutableStep): void;
}

function pagesOf(step: unknown): Pages | undefined {
  return typeof step === "object" && step !== null && "setFirst" in step && "setLast" in step
    ? (step as Pages)
    : undefined;
}

function boundPage(step: unknown, fieldArgs: FieldArgs, backwards: boolean): void {
  const pages = pagesOf(step);
  if (pages === undefined) return;
  const raw = (argument: string): ExecutableStep => fieldArgs.getRaw(argument) as ExecutableStep;
  if (backwards) {
    const dependencies = [raw("first"), raw("last"), raw("before")] as const;
    pages.setFirst(lambda(dependencies, boundedFirst, true));
    pages.setLast(lambda(dependencies, boundedLast, true));
  } else {
    pages.setFirst(lambda(raw("first"), (first) => boundedFirst([first, null, null]), true));
  }
}

const nothing = (): void => {};

/** Bounds the depth, the breadth and the length of an operation, and the rows of a page. */
export const LimitsPlugin: GraphileConfig.Plugin = {
  name: "InsightsLimitsPlugin",
  version: "1.0.0",
  grafserv: {
    middleware: {
      setPreset(next, event) {
        const depth = depthLimit({
          maxDepth: limits.depth,
          // What the introspection query of GraphQL's reference implementation asks for.
          maxIntrospectionDepth: 16,
          maxDepthByFieldCoordinates: { "__Type.ofType": 10 },
          revealDetails: true,
        });
        event.validationRules.push(fieldLimit, depth);
        return next();
      },
      processRequest(next, { requestDigest }) {
        const getBody = requestDigest.getBody;
        requestDigest.getBody = async () => {
          const body = await getBody.call(requestDigest);
          if (body.type === "buffer") checkJson(body.buffer);
          return body;
        };
        return next();
      },
      processGraphQLRequestBody(next, event) {
        const { query } = event.body;
        if (typeof query === "string" && query.length > limits.operation) {
          throw new SafeError(`the operation has ${query.length} characters`, {
            statusCode: 413,
            code: "CF008",
            hint: `Send ${limits.operation} at most, and data as variables.`,
          });
        }
        if (typeof query === "string" && tooManyTokens(query)) {
          throw new SafeError(`the operation has more than ${limits.tokens} tokens`, {
            statusCode: 413,
            code: "CF008",
            hint: "Send lists and texts as variables, and large operations in parts.",
          });
        }
        if (typeof query === "string" && nesting(query) > limits.nesting) throw tooDeep();
        checkVariables(event.body.variableValues);
        return next();
      },
    },
  },
  grafast: {
    middleware: {
      execute(next, { args }) {
        const rows = countRows(args.schema, args.document, args.operationName, args.variableValues ?? {});
        if (rows <= limits.allRows) return next();
        const error = new GraphQLError(`the operation asks for more than ${limits.allRows} rows`, {
          extensions: {
            code: "CF008",
            hint: `A list without "first" counts for ${limits.rows}, a list within a list for each row of the outer one: set "first" on both.`,
          },
        });
        return { errors: [error] };
      },
    },
  },
  schema: {
    hooks: {
      GraphQLSchema(schema) {
        const { extensions } = schema;
        const grafast = {
          ...extensions?.grafast,
          operationsCacheMaxLength: limits.operations,
          operationOperationPlansCacheMaxLength: 10,
        };
        return { ...schema, extensions: { ...extensions, grafast } };
      },
      GraphQLObjectType_fields_field_args(args, _build, { scope }) {
        if (!scope.isPgFieldConnection) return args;
        for (const name of ["first", "last", "offset"]) {
          const argument = args[name];
          if (argument !== undefined) argument.applyPlan = nothing;
        }
        return args;
      },
      GraphQLObjectType_fields_field(field, _build, { scope }) {
        const { plan } = field;
        if (!scope.isPgFieldConnection || plan === undefined) return field;
        return {
          ...field,
          plan($parent, fieldArgs, info) {
            const $connection = plan($parent, fieldArgs, info);
            const has = (name: string): boolean => info.field.args.some((argument) => argument.name === name);
            if (has("first")) boundPage($connection, fieldArgs, has("last"));
            if (has("offset")) {
              const offset = fieldArgs.getRaw("offset") as ExecutableStep;
              pagesOf($connection)?.setOffset(lambda(offset, boundedOffset, true));
            }
            return $connection;
          },
        };
      },
    },
  },
};

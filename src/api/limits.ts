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

/** Limits of a request. Its time is limited by the preset's timeouts and by `statement_timeout`. */
export const limits = {
  /** Bytes of a request. */
  bytes: 4_000_000,
  /** Characters of an operation, without its variables. */
  operation: 50_000,
  /** Tokens of an operation, which determine the cost of parsing, validating and caching it. */
  tokens: 5000,
  /** Fields of an operation, where fragments and aliases count as often as they are used. */
  fields: 500,
  /** Cached operations with their plans, of up to some megabytes each; any client can send many different ones. */
  operations: 100,
  /** Levels of an operation. */
  depth: 12,
  /**
   * Nesting of lists and objects in the variables, also of JSON within a string: PostgreSQL's parser may crash on too
   * many levels.
   */
  nesting: 200,
  /** Values in the JSON of a request: many small values take more memory, once parsed, than their bytes. */
  values: 250_000,
  /** Rows of a page, and of a list without a page size. */
  rows: 1000,
  /** Rows of an operation: a page within a page counts once for each row of the outer one. */
  allRows: 100_000,
} as const;

/** An upper bound of the nesting in a JSON text; brackets within strings count too. */
function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charCodeAt(index) | 0x20;
    // [ and { differ from each other in one bit, and so do ] and }.
    if (character === 0x7b) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (character === 0x7d && depth > 0) depth -= 1;
  }
  return deepest;
}

const tooDeep = (): SafeError =>
  new SafeError("lists and objects are nested too deeply", {
    statusCode: 400,
    code: "CF008",
    hint: `Nest at most ${limits.nesting} levels.`,
  });

const tooManyValues = (): SafeError =>
  new SafeError(`the request has more than ${limits.values} values`, {
    statusCode: 413,
    code: "CF008",
    hint: "Send fewer values at a time; split the batch.",
  });

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;

/** Scans the bytes of a JSON text once before it is parsed, and stops at the first violation. */
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

/**
 * The same for the variables. Those that are strings, and those in an input object, may contain JSON again, such as the
 * batch of trackIngest; further inside, as in a message, a string is a text.
 */
export function checkVariables(value: unknown, depth = 0): void {
  if (depth > limits.nesting) throw tooDeep();
  if (typeof value === "string") {
    if (depth <= 2 && nesting(value) > limits.nesting) throw tooDeep();
  } else if (typeof value === "object" && value !== null) {
    for (const element of Array.isArray(value) ? value : Object.values(value)) checkVariables(element, depth + 1);
  }
}

/** Whether a text has more tokens than an operation may have. Text that is not GraphQL is left to the parser. */
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

/** Counts the fields of a document, which a depth limit does not bound. */
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
      // Another validation rule refuses a fragment that contains itself.
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
          new GraphQLError(`the operation requests ${sum} fields`, {
            nodes: operation,
            extensions: { code: "CF008", hint: `Request at most ${limits.fields}.` },
          }),
        );
      }
    },
  };
}

/**
 * Upper bound of the rows that an operation returns, computed before it is executed: `first`, `last` or a full page,
 * multiplied along each path.
 */
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
  /** `page` is the page size of the connection whose fields these are. */
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
          // Nodes and edges of the same page are both returned, though read once.
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
    hint: `Request 0 to ${limits.rows} rows at a time, and continue after "pageInfo.endCursor".`,
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
    hint: `Use "first" with "after" to page forward, or "last" with "before" to page backward.`,
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

/** Limits the depth, breadth and length of an operation, and the rows of a page. */
export const LimitsPlugin: GraphileConfig.Plugin = {
  name: "InsightsLimitsPlugin",
  version: "1.0.0",
  grafserv: {
    middleware: {
      setPreset(next, event) {
        const depth = depthLimit({
          maxDepth: limits.depth,
          // The depth of the introspection query in GraphQL's reference implementation.
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
            hint: `Send at most ${limits.operation}, and data as variables.`,
          });
        }
        if (typeof query === "string" && tooManyTokens(query)) {
          throw new SafeError(`the operation has more than ${limits.tokens} tokens`, {
            statusCode: 413,
            code: "CF008",
            hint: "Send lists and strings as variables, and split large operations.",
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
        const error = new GraphQLError(`the operation requests more than ${limits.allRows} rows`, {
          extensions: {
            code: "CF008",
            hint: `A list without "first" counts as ${limits.rows} rows, and a nested list counts for each row of the outer one: set "first" on both.`,
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

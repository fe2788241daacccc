import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { codegen } from "@graphql-codegen/core";
import * as plugin from "@graphql-codegen/typescript-operations";
import {
  buildSchema,
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  stripIgnoredCharacters,
  type ValueNode,
} from "postgraphile/graphql";
import { packageRoot } from "../../src/paths.ts";

/*
 * `operations.ts` of a directory, from its `operations.graphql`: the types of the operations by graphql-codegen, and the
 * operations with these types. The client then needs no library of GraphQL, neither to run nor to be type-checked.
 */

/** Values of scalars in JSON. */
const scalars = {
  BigInt: "string",
  BigFloat: "string",
  Cursor: "string",
  Date: "string",
  Datetime: "string",
  UUID: "string",
  JSON: "unknown",
};

/** Each operation with the fragments that it uses. */
function textOf(document: DocumentNode, name: string): string {
  const used = new Set<string>([name]);
  const text = (): string =>
    document.definitions
      .filter((definition) => "name" in definition && used.has(definition.name?.value ?? ""))
      .map((definition) => print(definition))
      .join("\n");
  for (const [, fragment = ""] of text().matchAll(/\.\.\.(\w+)/g)) used.add(fragment);
  return stripIgnoredCharacters(text());
}

/* ------------------------------------------------------------------------------------------------- queries in SQL -- */

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** `analyticsPopularItems` and `AnalyticsPopularItem`: `analytics.popular_items` and `analytics.popular_item`. */
const qualified = (name: string): string =>
  snake(`${name.slice(0, 1).toLowerCase()}${name.slice(1)}`).replace("_", ".");

function literal(value: ValueNode): string {
  if (value.kind === Kind.VARIABLE) return `$${value.name.value}`;
  if (value.kind === Kind.LIST) return `array[${value.values.map(literal).join(", ")}]`;
  if (value.kind === Kind.STRING || value.kind === Kind.ENUM) return `'${value.value.replaceAll("'", "''")}'`;
  if (value.kind === Kind.NULL) return "null";
  if (value.kind === Kind.OBJECT) throw new Error("a composite value in an operation with a form in SQL");
  return String(value.value);
}

/** Views whose names are not those of their rows. */
const viewNames: Readonly<Record<string, string>> = { PrivacyPendingRequest: "privacy.open_requests" };

/** The lines of the SELECT that a field of a query stands for. A line with a variable is left out when it is not given. */
function select(field: FieldNode, schema: GraphQLSchema): string[] {
  const definition = schema.getQueryType()?.getFields()[field.name.value];
  if (definition === undefined) throw new Error(`the schema has no query ${field.name.value}`);
  const type = isNonNullType(definition.type) ? definition.type.ofType : definition.type;
  const given = new Map((field.arguments ?? []).map(({ name, value }) => [name.value, value]));
  const limit = given.get("first");
  const selections = (of: FieldNode): FieldNode[] =>
    (of.selectionSet?.selections ?? []).filter((selection) => selection.kind === Kind.FIELD);
  const list = selections(field).find(({ name }) => name.value === "nodes");
  const isTable = definition.args.some(({ name }) => name === "orderBy");
  const node = isObjectType(type) ? type.getFields()["nodes"]?.type : undefined;
  const row = isNonNullType(node) ? node.ofType : node;
  const element = isListType(row) ? String(row.ofType).replace(/\W/g, "") : "";
  const rowType = isObjectType(type) && list === undefined ? type : schema.getType(element);
  // Rows of other tables that belong to the row are not columns.
  const isRelated = (name: string): boolean => {
    const of = isObjectType(rowType) ? rowType.getFields()[name]?.type : undefined;
    return isObjectType(of) && of.getInterfaces().some((known) => known.name === "Node");
  };
  const columns = selections(list ?? field)
    .filter(({ name }) => !isRelated(name.value))
    .map(({ name }) => snake(name.value));
  if (columns.length === 0 && given.size === 0) return [`select ${qualified(field.name.value)}()`];
  const lines = [`select ${columns.length > 0 ? columns.join(", ") : "*"}`];
  if (isTable) {
    lines.push(`from ${viewNames[element] ?? qualified(element)}`);
    const condition = given.get("condition");
    const equal = condition?.kind === Kind.OBJECT ? condition.fields : [];
    const conditions = equal.map(({ name, value }) => `${snake(name.value)} = ${literal(value)}`);
    if (conditions.length > 0) lines.push(`where ${conditions.join(" and ")}`);
    const order = given.get("orderBy");
    const keys = order?.kind === Kind.LIST ? order.values : order === undefined ? [] : [order];
    const names = keys.map((key) => (key.kind === Kind.ENUM ? key.value.toLowerCase() : ""));
    if (names.length > 0) {
      lines.push(`order by ${names.map((name) => name.replace(/_asc$/, "").replace(/_desc$/, " desc")).join(", ")}`);
    }
  } else {
    const skipped = new Set(["first", "last", "offset", "before", "after"]);
    lines.push(`from ${qualified(field.name.value)}(`);
    for (const [name, value] of given) if (!skipped.has(name)) lines.push(`  ${snake(name)} => ${literal(value)}`);
    lines.push(")");
  }
  if (limit !== undefined) lines.push(`limit ${literal(limit)}`);
  return lines;
}

function queryInSql(operation: OperationDefinitionNode, schema: GraphQLSchema): string[][] {
  if (operation.operation !== "query") return [];
  return operation.selectionSet.selections
    .filter((selection) => selection.kind === Kind.FIELD)
    .map((field) => select(field, schema));
}

/* --------------------------------------------------------------------------------------------------------- files -- */

/** `withSql`: each constant has the text and the SELECTs that it stands for; without, it is the text. */
export async function generateOperations(directory: string, { withSql = false } = {}): Promise<string> {
  const read = (path: string): Promise<string> => readFile(join(packageRoot, path), "utf8");
  const document = parse(await read(join(directory, "operations.graphql")));
  const text = await read("schema.graphql");
  const schema = buildSchema(text);
  const types = await codegen({
    filename: "operations.ts",
    schema: parse(text),
    documents: [{ location: "operations.graphql", document }],
    pluginMap: { operations: plugin },
    plugins: [{ operations: {} }],
    config: {
      scalars,
      strictScalars: false,
      useTypeImports: true,
      skipTypename: true,
      enumsAsTypes: true,
      preResolveTypes: true,
      omitOperationSuffix: false,
    },
  });
  const constants = document.definitions.flatMap((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION) return [];
    const name = definition.name?.value ?? "";
    const kind = definition.operation === "query" ? "Query" : "Mutation";
    const constant = `${name.slice(0, 1).toLowerCase()}${name.slice(1)}`;
    const value = withSql
      ? { name, text: textOf(document, name), sql: queryInSql(definition, schema) }
      : textOf(document, name);
    return [
      `export const ${constant}: TypedDocument<${name}${kind}, ${name}${kind}Variables> =\n  ${JSON.stringify(value)};`,
    ];
  });
  return [
    "// Generated by `npm run schema` from schema.graphql and operations.graphql.",
    "",
    ...(withSql
      ? [
          "/** An operation, with the types of its result and its variables, and the SELECTs that it stands for, by line. */",
          "export interface TypedDocument<Result, Variables> {",
          "  name: string;",
          "  text: string;",
          "  sql: string[][];",
          "  readonly __types?: (variables: Variables) => Result;",
          "}",
        ]
      : [
          "/** The text of an operation, with the types of its result and its variables. */",
          "export type TypedDocument<Result, Variables> = string & { readonly __types?: (variables: Variables) => Result };",
        ]),
    "",
    types.trim(),
    "",
    ...constants,
    "",
  ].join("\n");
}

const literal = (value: unknown): string =>
  typeof value === "number" || typeof value === "boolean" ? String(value) : `'${String(value).replaceAll("'", "''")}'`;

/** The SELECTs that an operation stands for, to be copied into psql. Arguments that are not given are left out. */
export function queryInSql({ sql }: { sql: string[][] }, variables: object): string {
  const values = variables as Record<string, unknown>;
  return sql
    .map((lines) => {
      const given = lines
        .filter((line) => [...line.matchAll(/\$(\w+)/g)].every(([, name = ""]) => (values[name] ?? null) !== null))
        .map((line) => line.replace(/\$(\w+)/g, (_, name: string) => literal(values[name])));
      return given.reduce((text, line) => {
        if (line === ")") return `${text}${text.endsWith("(") ? "" : "\n"})`;
        return `${text}${line.startsWith("  ") && !text.endsWith("(") ? "," : ""}${text === "" ? "" : "\n"}${line}`;
      }, "");
    })
    .map((query) => `${query};`)
    .join("\n\n");
}

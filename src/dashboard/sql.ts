const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const units = ["years", "months", "days", "hours", "minutes", "seconds"];

/** A value of a variable: lists of texts are arrays, lengths of time intervals, and other composite values jsonb. */
function literal(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "object" || value === null) return quoted(String(value));
  if (Array.isArray(value) && value.length > 0 && value.every((element) => typeof element !== "object")) {
    return `array[${value.map(literal).join(", ")}]`;
  }
  const parts = Object.entries(value);
  const isInterval = parts.length > 0 && parts.every(([unit]) => units.includes(unit));
  return quoted(isInterval ? parts.map(([unit, number]) => `${number} ${unit}`).join(" ") : JSON.stringify(value));
}

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

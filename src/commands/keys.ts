import Table from "cli-table3";
import { Command, InvalidArgumentError, Option } from "commander";
import { asAdministrator } from "./session.ts";

interface Key {
  key_id: number;
  preview: string;
  source: string;
  level: string;
  scopes: string[];
  origins: string[];
  requests_per_minute: number;
  state: string;
  used_on: string | null;
}

interface NewKey {
  key_id: number;
  write_key: string;
  source: string;
  level: string;
}

interface Entry {
  logged_at: string;
  key_id: number;
  action: string;
  actor: string;
  details: Record<string, unknown>;
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Use a whole number.");
  return Number(text);
}

const units: Record<string, string> = { m: "minutes", h: "hours", d: "days" };

/** A duration such as 7d, as PostgreSQL writes it. */
function duration(text: string): string {
  const [, number, unit = ""] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError("Use minutes, hours or days: 30m, 24h, 7d.");
  return `${number} ${units[unit]}`;
}

/** A time, or a duration from now. PostgreSQL itself reads times in more formats, some of which depend on settings. */
function expiry(text: string): string {
  if (/^\d{1,6}[mhd]$/.test(text)) {
    const milliseconds = { m: 60_000, h: 3_600_000, d: 86_400_000 }[text.slice(-1)] ?? Number.NaN;
    return new Date(Date.now() + Number.parseInt(text, 10) * milliseconds).toISOString();
  }
  const time = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/.test(text) ? new Date(text) : undefined;
  if (time === undefined || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError("Use a duration or a time with a zone: 90d, 2027-01-31, 2027-01-31T12:00:00Z.");
  }
  return time.toISOString();
}

const collect = (text: string, earlier: string[] = []): string[] => [...earlier, ...text.split(",")];

function printTable(head: string[], rows: string[][]): void {
  const table = new Table({ head, style: { head: [], border: [] } });
  table.push(...rows);
  console.log(table.toString());
}

/** On standard output the key alone, so that a script can store it. */
function printNew({ key_id, write_key, source, level }: NewKey, json: true | undefined): void {
  if (json) {
    console.log(JSON.stringify({ key_id, write_key, source, level }));
    return;
  }
  console.error(`write key ${key_id} of the source "${source}", level ${level}. It is shown only now:`);
  console.log(write_key);
}

const list = new Command("list")
  .description("Prints the write keys, without the keys themselves.")
  .option("--all", "revoked and expired ones too")
  .option("--json", "print JSON")
  .action(async (options: { all?: true; json?: true }) => {
    const keys = await asAdministrator("keys", async (client) => {
      const { rows } = await client.query<Key>(
        `select
           write_key.key_id, write_key.preview, source.name as source, source.level, write_key.scopes, write_key.origins,
           write_key.requests_per_minute, write_key.used_on::text,
           case
             when write_key.revoked_at is not null then 'revoked'
             when write_key.expires_at <= now() then 'expired'
             when write_key.expires_at is not null
               then 'until ' || to_char(write_key.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI"Z"')
             else 'valid'
           end as state
         from track.write_key
         join track.source using (source_id)
         where $1 or (write_key.revoked_at is null and coalesce(write_key.expires_at > now(), true))
         order by source.name, source.level, write_key.key_id`,
        [options.all === true],
      );
      return rows;
    });
    if (options.json) console.log(JSON.stringify(keys));
    else if (keys.length === 0) console.log("no write keys; create one: insights keys create <source>");
    else {
      printTable(
        ["id", "key", "source", "level", "scopes", "origins", "per minute", "state", "last used"],
        keys.map((key) => [
          String(key.key_id),
          `${key.preview}…`,
          key.source,
          key.level,
          key.scopes.join(", "),
          key.origins.join("\n") || "any",
          String(key.requests_per_minute),
          key.state,
          key.used_on ?? "never",
        ]),
      );
    }
  });

const create = new Command("create")
  .description("Creates a write key and prints it; only its hash is stored.")
  .argument("<source>", "name of the application that sends messages; added if it is new")
  .addOption(
    new Option(
      "--level <level>",
      "server: keeps the key secret, and may name any person. signed_in, anonymous: browsers and apps, whose users can read the key",
    )
      .choices(["server", "signed_in", "anonymous"])
      .default("anonymous"),
  )
  .option(
    "--origin <origin>",
    "origin of a web page that may use it, such as https://campus.example; repeatable",
    collect,
  )
  .option("--scope <scope>", "events (send messages), features; repeatable", collect)
  .option("--rate <n>", "requests per minute, of each process of the API", whole, 6000)
  .option("--expires <time>", "time from which it is refused: 90d, 2027-01-31, 2027-01-31T12:00:00Z", expiry)
  .option("--json", "print JSON")
  .action(
    async (
      source: string,
      options: { level: string; origin?: string[]; scope?: string[]; rate: number; expires?: string; json?: true },
    ) => {
      const created = await asAdministrator("keys", async (client) => {
        const { rows } = await client.query<NewKey>("select * from track.create_write_key($1, $2, $3, $4, $5, $6)", [
          source,
          options.level,
          options.scope ?? ["events"],
          options.origin ?? [],
          options.rate,
          options.expires ?? null,
        ]);
        return rows[0] as NewKey;
      });
      printNew(created, options.json);
    },
  );

const rotate = new Command("rotate")
  .description("Creates a write key with the same properties, and lets the old one expire after some time.")
  .argument("<id>", "number of the key: see insights keys list", whole)
  .option("--keep <duration>", "time for which the old key is still accepted: 0m, 24h, 7d", duration, "7 days")
  .option("--json", "print JSON")
  .action(async (id: number, options: { keep: string; json?: true }) => {
    const created = await asAdministrator("keys", async (client) => {
      const { rows } = await client.query<NewKey>("select * from track.rotate_write_key($1, $2)", [id, options.keep]);
      return rows[0] as NewKey;
    });
    printNew(created, options.json);
  });

const revoke = new Command("revoke")
  .description("Revokes a write key: requests with it are refused from now on.")
  .argument("<id>", "number of the key: see insights keys list", whole)
  .action(async (id: number) => {
    const revoked = await asAdministrator("keys", async (client) => {
      const { rows } = await client.query<{ revoked: boolean }>("select track.revoke_write_key($1) as revoked", [id]);
      return rows[0]?.revoked === true;
    });
    console.log(revoked ? `write key ${id} is revoked` : `write key ${id} was revoked before`);
  });

const log = new Command("log")
  .description("Prints who created, changed, rotated and revoked write keys, the latest first.")
  .argument("[id]", "number of one key", whole)
  .option("--json", "print JSON")
  .action(async (id: number | undefined, options: { json?: true }) => {
    const entries = await asAdministrator("keys", async (client) => {
      const { rows } = await client.query<Entry>(
        `select
           to_char(logged_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as logged_at, key_id, action, actor, details
         from track.write_key_log
         where $1::int is null or key_id = $1
         order by write_key_log.logged_at desc, key_id desc
         limit 1000`,
        [id ?? null],
      );
      return rows;
    });
    if (options.json) console.log(JSON.stringify(entries));
    else if (entries.length === 0) console.log("no entries");
    else {
      printTable(
        ["time", "id", "action", "by", "details"],
        entries.map((entry) => [
          entry.logged_at,
          String(entry.key_id),
          entry.action,
          entry.actor,
          Object.entries(entry.details)
            .filter(([, value]) => value !== null)
            .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(", ") || "any" : String(value)}`)
            .join("\n"),
        ]),
      );
    }
  });

const keys = new Command("keys")
  .description("Lists, creates, rotates and revokes write keys, by which clients send messages to a source.")
  .addHelpText(
    "after",
    `
Examples:
  insights keys create campus-web --origin https://campus.example
  insights keys create campus-backend --level server
  insights keys rotate 3 --keep 7d

A client sends its key as X-Write-Key, or as the user name of Authorization: Basic, never in a URL.`,
  );
for (const command of [list, create, rotate, revoke, log]) keys.addCommand(command.exitOverride());

export default keys;

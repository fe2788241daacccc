import { ImportError, type Problem, shown } from "./problem.ts";
import { placeOf } from "./time-zone.ts";

/** The order of day, month and year in dates such as 03/04/2024. */
export type DateOrder = "dmy" | "mdy" | "ymd";

/** How the times of a file are read. */
export interface TimeRules {
  /** Zone of times without an offset. */
  timeZone: string;
  /** Undefined: the order is recognized from the whole file. */
  dateOrder?: DateOrder | undefined;
  /** strptime's directives, such as `%d/%m/%y, %H:%M`; undefined: the forms below. */
  timeFormat?: string | undefined;
  /** The date, as if in UTC, from which the column counts days; undefined: it contains times. */
  daysSince?: number | undefined;
}

const CLOCK = String.raw`(?:(?:,? +|T)(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2})(?:[.,](?<fraction>\d{1,9}))?)?(?: ?(?<half>[AaPp])\.?[Mm]\.?)?)?`;
const ZONE = String.raw`\s*(?:(?<utc>Z|z|UTC|GMT)|(?:UTC|GMT)?(?<offset>[+-]\d{2}(?::?\d{2})?)(?: \(?[A-Z]{3,5}\)?)?)?`;
const ISO = new RegExp(String.raw`^(?<year>\d{4})-(?<month>\d{2})-(?<day>\d{2})${CLOCK}${ZONE}$`);
const NUMERIC = new RegExp(
  String.raw`^(?<one>\d{1,4})(?<mark>[/.-])(?<two>\d{1,2})\k<mark>(?<three>\d{1,4})${CLOCK}${ZONE}$`,
);
/** 31 May 2024, Fri, 31-May-24, and May 31, 2024, in English. */
const NAMED = new RegExp(
  String.raw`^(?:[A-Z][a-z]{2,8},? +)?(?:(?<day>\d{1,2})[ -](?<name>[A-Z][a-z]{2,8})\.?|(?<first>[A-Z][a-z]{2,8})\.? (?<second_day>\d{1,2})),?[ -](?<year>\d{4}|\d{2})${CLOCK}${ZONE}$`,
);
const EPOCH = /^\d{9,19}(?:\.\d{1,9})?$/;
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAY = 86_400_000;

const HINT =
  "write 2024-05-31 16:00:00 (in --time-zone), 2024-05-31T16:00:00+02:00, or seconds since 1970; --time-format reads other forms";

/**
 * Reads the times of one file: ISO 8601, wall-clock times of the zone, numeric dates in one order, English names of
 * months, or the time since 1970 in seconds, milli-, micro- or nanoseconds (numbers from 9 digits on).
 */
export class Times {
  readonly #rules: TimeRules;
  readonly #format: TimeFormat | undefined;
  #order: DateOrder | undefined;
  /** Lines that prove an order. */
  readonly #seen = new Map<DateOrder, { line: number; text: string }>();
  #ambiguous: { line: number; text: string } | undefined;
  readonly #places: Places;
  #hasYearFirst = false;

  constructor(rules: TimeRules) {
    this.#rules = rules;
    this.#order = rules.dateOrder;
    this.#places = new Places(rules.timeZone);
    this.#format = rules.timeFormat === undefined ? undefined : new TimeFormat(rules.timeFormat);
  }

  /** Whether numeric dates are read in an order that is not known yet. */
  get isOpen(): boolean {
    return this.#order === undefined && this.#format === undefined && this.#rules.daysSince === undefined;
  }

  /** How the times that have been read were understood: their order, their zone, and changes of its clock. */
  notes(): string[] {
    const { daysSince, dateOrder, timeFormat } = this.#rules;
    const proof = this.#order === undefined ? undefined : this.#seen.get(this.#order);
    const orders = [
      daysSince === undefined ? undefined : `times are days since ${new Date(daysSince).toISOString().slice(0, 10)}`,
      timeFormat === undefined ? undefined : `times are of the form ${timeFormat}`,
      dateOrder === undefined ? undefined : `dates such as 03/04/2024 are ${dateOrder}, as --date-order states`,
      proof === undefined ? undefined : `dates are ${this.#order}, as line ${proof.line} shows: ${proof.text}`,
      this.#hasYearFirst ? "dates are year, month, day" : undefined,
    ];
    return [...orders.filter((note) => note !== undefined), ...this.#places.notes()];
  }

  /** Notes a time of the file before it is read. False when it is of a form whose order is known. */
  note(text: string, line: number): boolean {
    const { one, two, three, mark } = NUMERIC.exec(text)?.groups ?? {};
    if (one === undefined || two === undefined || three === undefined || one.length === 4) return false;
    const place = { line, text: shown(text) };
    // 95-01-01: a year of two digits proves no order.
    if (Number(one) > 31) return true;
    if (Number(one) > 12) this.#seen.set("dmy", this.#seen.get("dmy") ?? place);
    else if (Number(two) > 12) this.#seen.set("mdy", this.#seen.get("mdy") ?? place);
    // 31.05.2024: no country writes the month first with full stops.
    else if (mark === ".") this.#seen.set("dmy", this.#seen.get("dmy") ?? place);
    else this.#ambiguous ??= place;
    return true;
  }

  /** Decides on the order, after all times have been noted. */
  decide(): void {
    const [dmy, mdy] = [this.#seen.get("dmy"), this.#seen.get("mdy")];
    if (dmy !== undefined && mdy !== undefined) {
      throw new ImportError(
        `the file has dates in two orders: line ${dmy.line} has ${dmy.text}, line ${mdy.line} ${mdy.text}`,
        "divide it into two files, or name the order with --date-order: the rows of the other one are then rejected",
      );
    }
    if (dmy !== undefined) this.#order = "dmy";
    else if (mdy !== undefined) this.#order = "mdy";
    else if (this.#ambiguous !== undefined) throw this.#unknown(this.#ambiguous.text);
  }

  /** The instant of a cell, in milliseconds since 1970; `line` is that of an example. */
  read(text: string, line?: number): number | Problem {
    this.#places.begin(text, line);
    const time = this.#read(text.trim());
    if (typeof time === "number" && !Number.isNaN(new Date(time).getTime())) return time;
    if (typeof time === "number") return { what: "a time out of range", value: shown(text) };
    return { value: shown(text), ...time };
  }

  #read(text: string): number | Problem {
    const { daysSince } = this.#rules;
    const places = this.#places;
    if (daysSince !== undefined) {
      if (!/^-?\d{1,6}$/.test(text)) return { what: "not a number of days", hint: "--days-since counts whole days" };
      return places.local(daysSince + Number(text) * DAY);
    }
    if (this.#format !== undefined) return this.#format.read(text, places);
    if (EPOCH.test(text)) return places.universal(epochOf(text));
    const iso = ISO.exec(text)?.groups;
    if (iso !== undefined) {
      this.#hasYearFirst = true;
      return instant(iso, Number(iso["year"]), Number(iso["month"]), Number(iso["day"]), places);
    }
    const numeric = NUMERIC.exec(text)?.groups;
    if (numeric !== undefined) return this.#numeric(text, numeric);
    const named = NAMED.exec(text)?.groups;
    const month = MONTHS.indexOf((named?.["name"] ?? named?.["first"] ?? "").slice(0, 3).toLowerCase());
    if (named !== undefined && month >= 0) {
      return instant(
        named,
        yearOf(named["year"] ?? ""),
        month + 1,
        Number(named["day"] ?? named["second_day"]),
        places,
      );
    }
    return /^-?\d{1,8}$/.test(text)
      ? {
          what: "not a time",
          hint: "a number of days is read with --days-since; numbers below 9 digits are not read as a time since 1970",
        }
      : { what: "not a time", hint: HINT };
  }

  #numeric(text: string, found: Groups): number | Problem {
    const { one = "", two = "", three = "" } = found;
    if (one.length === 4) return instant(found, Number(one), Number(two), Number(three), this.#places);
    if (one.length > 2) return { what: "not a time", hint: HINT };
    if (Number(one) > 31 && this.#order !== "ymd") {
      return { what: "a year of two digits", hint: "write four, or state the order with --date-order ymd" };
    }
    if (this.#order === undefined) throw this.#unknown(shown(text));
    const [year, month, day] =
      this.#order === "dmy" ? [three, two, one] : this.#order === "mdy" ? [three, one, two] : [one, two, three];
    if (year.length !== 2 && year.length !== 4) return { what: "not a time", hint: HINT };
    return instant(found, yearOf(year), Number(month), Number(day), this.#places);
  }

  #unknown(text: string): ImportError {
    return new ImportError(
      `the order of day and month is not known: ${text} can be either`,
      "name it with --date-order dmy, mdy or ymd",
    );
  }
}

/** Places times on the line of time, and counts how. */
class Places {
  readonly #zone: string;
  #text = "";
  #line: number | undefined;
  #locals = 0;
  #universals = 0;
  readonly #changes = new Map<"repeated" | "skipped", { count: number; example: string }>();

  constructor(zone: string) {
    this.#zone = zone;
  }

  /** The text that is read next. */
  begin(text: string, line: number | undefined): void {
    this.#text = text;
    this.#line = line;
  }

  universal(time: number): number {
    this.#universals += 1;
    return time;
  }

  /** A time of a clock in the zone. */
  local(wallClock: number): number {
    this.#locals += 1;
    const { instant, change } = placeOf(this.#zone, wallClock);
    if (change !== undefined) {
      const known = this.#changes.get(change);
      if (known !== undefined) known.count += 1;
      else {
        const line = this.#line === undefined ? "" : `line ${this.#line}, `;
        const example = `${line}${shown(this.#text.trim())} is ${new Date(instant).toISOString()}`;
        this.#changes.set(change, { count: 1, example });
      }
    }
    return instant;
  }

  notes(): string[] {
    const [repeated, skipped] = [this.#changes.get("repeated"), this.#changes.get("skipped")];
    const times = (count: number): string => (count === 1 ? "1 time" : `${count.toLocaleString("en")} times`);
    return [
      ...(this.#locals === 0 ? [] : [`${times(this.#locals)} without an offset: read in ${this.#zone}`]),
      ...(this.#universals === 0 ? [] : [`${times(this.#universals)} with an offset, or since 1970`]),
      ...(repeated === undefined
        ? []
        : [
            `${times(repeated.count)} of an hour that occurs twice in ${this.#zone}: read as the first; ${repeated.example}`,
          ]),
      ...(skipped === undefined
        ? []
        : [
            `${times(skipped.count)} of an hour that does not exist in ${this.#zone}: read with the offset of before it; ${skipped.example}`,
          ]),
    ];
  }
}

type Groups = Readonly<Record<string, string | undefined>>;

/** The instant of a date and the groups of a form: hour, minute, second, fraction, half, utc and offset. */
function instant(groups: Groups, year: number, month: number, day: number, places: Places): number | Problem {
  const { minute: minutes = 0, second: seconds = 0, fraction = 0, half, utc } = groups;
  const hour = half === undefined ? Number(groups["hour"] ?? 0) : hourOf(Number(groups["hour"]), half);
  const [minute, second] = [Number(minutes), Number(seconds)];
  const offset = utc === undefined ? groups["offset"] : "+00";
  // Date.UTC reads the years 0 to 99 as 1900 to 1999.
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  // Date normalises invalid dates: 30 February becomes 1 March.
  const exists =
    date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  if (!exists) return { what: "a time that does not exist" };
  const wallClock = date.getTime() + Math.round(Number(`0.${fraction}`) * 1_000);
  return offset === undefined ? places.local(wallClock) : places.universal(wallClock - minutesOf(offset) * 60_000);
}

/** Two digits are of 1969 to 2068, as in POSIX. */
function yearOf(text: string): number {
  const year = Number(text);
  return text.length > 2 ? year : year + (year < 69 ? 2_000 : 1_900);
}

/** 12 AM is midnight; 13 PM does not exist. */
function hourOf(hour: number, half: string): number {
  if (hour < 1 || hour > 12) return 24;
  return (hour % 12) + (half.toLowerCase() === "p" ? 12 : 0);
}

/** Seconds have up to 11 digits (until the year 5138), and each further unit three more. */
function epochOf(text: string): number {
  const digits = text.replace(/\..*/, "").length;
  const number = Number(text);
  if (digits <= 11) return Math.round(number * 1_000);
  return Math.round(digits <= 14 ? number : digits <= 17 ? number / 1_000 : number / 1_000_000);
}

function minutesOf(offset: string): number {
  const digits = offset.slice(1).replace(":", "");
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2) || "0");
  return offset.startsWith("-") ? -minutes : minutes;
}

const DIRECTIVES: Readonly<Record<string, string>> = {
  Y: String.raw`(?<year>\d{4})`,
  y: String.raw`(?<year>\d{2})`,
  m: String.raw`(?<month>\d{1,2})`,
  b: String.raw`(?<name>[A-Za-z]{3,9})\.?`,
  B: "(?<name>[A-Za-z]{3,9})",
  d: String.raw`(?<day>\d{1,2})`,
  e: String.raw` ?(?<day>\d{1,2})`,
  H: String.raw`(?<hour>\d{1,2})`,
  I: String.raw`(?<hour>\d{1,2})`,
  p: String.raw`(?<half>[AaPp])\.?[Mm]\.?`,
  M: String.raw`(?<minute>\d{2})`,
  S: String.raw`(?<second>\d{2})`,
  f: String.raw`(?<fraction>\d{1,9})`,
  z: String.raw`(?:(?<utc>Z|UTC|GMT)|(?<offset>[+-]\d{2}(?::?\d{2})?))`,
  a: "[^ ,]+",
  A: "[^ ,]+",
  "%": "%",
};

/** A form of times in strptime's directives. */
export class TimeFormat {
  readonly #format: string;
  readonly #pattern: RegExp;

  /** Throws an ImportError for a directive that is not known, or without year, month and day. */
  constructor(format: string) {
    this.#format = format;
    const used = new Set<string>();
    const pattern = format.replaceAll(/%(.?)|[^%]/gsu, (text, directive: string | undefined) => {
      if (directive === undefined) return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
      const group = DIRECTIVES[directive];
      if (group === undefined) {
        throw new ImportError(
          `the time format has the unknown directive "${text}"`,
          `the directives are ${Object.keys(DIRECTIVES)
            .map((name) => `%${name}`)
            .join(" ")}`,
        );
      }
      const [name] = /(?<=<)\w+/.exec(group) ?? [directive];
      if (name !== "utc" && used.has(name) && directive !== "%" && directive !== "a" && directive !== "A") {
        throw new ImportError(`the time format has "${text}" although it has the ${name} already`);
      }
      used.add(name);
      return group;
    });
    if (!used.has("year") || !used.has("day") || !(used.has("month") || used.has("name"))) {
      throw new ImportError(
        `the time format "${shown(format)}" has no year, month or day`,
        "write it like %d/%m/%Y %H:%M:%S",
      );
    }
    this.#pattern = new RegExp(`^${pattern}$`, "u");
  }

  read(text: string, places: Places): number | Problem {
    const found = this.#pattern.exec(text)?.groups;
    if (found === undefined) return { what: `not a time of the form ${this.#format}` };
    const { year = "", month, name, day } = found;
    const named = MONTHS.indexOf((name ?? "").slice(0, 3).toLowerCase());
    if (name !== undefined && named < 0) return { what: `"${shown(name)}" is not an English month` };
    return instant(found, yearOf(year), name === undefined ? Number(month) : named + 1, Number(day), places);
  }
}

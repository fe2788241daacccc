import { TOPICS } from "./catalogue.ts";
import { DAY, type Options, startOf, WEEK } from "./options.ts";
import { at, clamp, Random } from "./random.ts";

export interface Device {
  anonymousId: string;
  kind: "laptop" | "phone";
  /** How far its clock is ahead of the true time, in milliseconds. */
  skew: number;
}

/** A learner with the true attributes, which only the simulation has. */
export interface Learner {
  index: number;
  externalId: string;
  name: string;
  email: string;
  timeZone: string;
  language: string;
  /** Shares of the topics. */
  tastes: number[];
  /** In standard deviations from the average. */
  ability: number;
  /** Factor of the number of sessions per week; the median is one. */
  engagement: number;
  /** The local hour around which most sessions start. */
  peakHour: number;
  /** Relative frequency of sessions on a weekend day, compared with a working day. */
  weekendFactor: number;
  joinedAt: number;
  /** The time at which the learner leaves the platform permanently, which may be after the simulated time. */
  leftAt: number;
  devices: Device[];
  features: string[];
}

const ZONES: readonly { name: string; language: string; weight: number }[] = [
  { name: "Europe/Berlin", language: "de", weight: 4 },
  { name: "Europe/London", language: "en", weight: 3 },
  { name: "America/New_York", language: "en", weight: 4 },
  { name: "America/Los_Angeles", language: "en", weight: 2 },
  { name: "America/Sao_Paulo", language: "pt", weight: 2 },
  { name: "Africa/Lagos", language: "en", weight: 1 },
  { name: "Asia/Kolkata", language: "en", weight: 3 },
  { name: "Asia/Tokyo", language: "ja", weight: 1 },
  { name: "Australia/Sydney", language: "en", weight: 1 },
];

const FIRST_NAMES = [
  "Ada", "Amara", "Anil", "Ayşe", "Bashir", "Birgit", "Carlos", "Chiara", "Dilnoza", "Ebele", "Elif", "Emre", "Fatima", "Frida", "Goran",
  "Hana", "Haruki", "Ines", "Iván", "Jasper", "Jun", "Kofi", "Lena", "Lucía", "Malik", "Mei", "Mina", "Niamh", "Nuria", "Olu", "Pavel",
  "Priya", "Quynh", "Rafael", "Renée", "Rosa", "Sanjay", "Søren", "Tala", "Tomás", "Uma", "Viktor", "Wanjiru", "Xin", "Yara", "Yusuf",
  "Zainab", "Zoë",
]; // biome-ignore format: a table of names
const LAST_NAMES = [
  "Adeyemi",
  "Almeida",
  "Andersen",
  "Bauer",
  "Bianchi",
  "Chen",
  "Costa",
  "Das",
  "Demir",
  "Dubois",
  "Evans",
  "Fernández",
  "Fischer",
  "Garcia",
  "Haddad",
  "Hansen",
  "Ivanova",
  "Jansen",
  "Kamau",
  "Kaya",
  "Kim",
  "Kowalski",
  "Kumar",
  "Lindqvist",
  "Lopez",
  "Mensah",
  "Moreau",
  "Murphy",
  "Nakamura",
  "Nguyen",
  "Novák",
  "Okafor",
  "Okoye",
  "Papadakis",
  "Patel",
  "Petrov",
  "Rahman",
  "Ricci",
  "Rossi",
  "Santos",
  "Schmidt",
  "Silva",
  "Singh",
  "Suzuki",
  "Tanaka",
  "Weber",
  "Yılmaz",
  "Zhang",
];
const FEATURES = ["Search", "Notes", "Flashcards", "Calendar", "Discussion", "Offline Reading", "Dark Mode", "Export"];

/** Learners are generated one after the other; each depends on the seed and the position only. */
export function buildLearner(index: number, options: Options): Learner {
  const random = new Random(`canvas flow/${options.seed}/learner/${index}`);
  const first = at(FIRST_NAMES, index % FIRST_NAMES.length);
  const last = at(LAST_NAMES, (index + 7 * Math.floor(index / FIRST_NAMES.length)) % LAST_NAMES.length);
  const cycle = Math.floor(index / (FIRST_NAMES.length * LAST_NAMES.length));
  const externalId = `${ascii(first)}.${ascii(last)}${cycle === 0 ? "" : `.${cycle + 1}`}`;
  const zone = random.weighted(ZONES, ({ weight }) => weight);
  const start = startOf(options);
  // Six of ten are present from the start; the others join during all but the last week.
  const joinedAt = random.chance(0.6) ? start : start + random.uniform() * Math.max(DAY, (options.weeks - 1) * WEEK);
  return {
    index,
    externalId,
    name: `${first} ${last}`,
    email: `${externalId}@canvasflow.example`,
    timeZone: zone.name,
    language: zone.language,
    tastes: random.dirichlet(TOPICS.length, 0.25),
    ability: random.normal(),
    engagement: random.logNormal(1, 0.5),
    peakHour: peakHour(random),
    weekendFactor: random.chance(0.25) ? random.between(1.4, 2.2) : random.between(0.2, 0.8),
    joinedAt,
    leftAt: joinedAt + random.exponential(40 * WEEK),
    devices: Array.from({ length: random.chance(0.5) ? 2 : 1 }, (_, position) =>
      buildDevice(`${externalId}~${position + 1}`, position === 0 ? "laptop" : "phone", random),
    ),
    features: FEATURES.filter(() => random.chance(0.3)),
  };
}

/** Evenings are most frequent; early mornings and lunch breaks are exceptions. */
function peakHour(random: Random): number {
  const kind = random.uniform();
  const hour = kind < 0.6 ? random.normal(19.5, 1.2) : kind < 0.8 ? random.normal(12.5, 0.8) : random.normal(8, 1);
  return clamp(hour, 5.5, 22.5);
}

/** Most clocks are accurate within seconds, some are minutes off, a few show another time zone or another day. */
export function buildDevice(anonymousId: string, kind: Device["kind"], random: Random): Device {
  const luck = random.uniform();
  const skew =
    luck < 0.85
      ? random.normal(0, 2_000)
      : luck < 0.95
        ? random.normal(0, 240_000)
        : random.integer(-36, 36) * 1_800_000 + random.normal(0, 30_000);
  return { anonymousId, kind, skew: Math.round(skew) };
}

/** The name without characters that are invalid in an address; ı has no decomposition. */
function ascii(name: string): string {
  return name
    .replaceAll("ı", "i")
    .replaceAll("ø", "o")
    .normalize("NFD")
    .replaceAll(/\p{Mark}/gu, "")
    .toLowerCase();
}

import { DAY, type Options, startOf, WEEK } from "./options.ts";
import { at, Random } from "./random.ts";

/** One page, video or task of a module, done in one sitting. */
export interface Step {
  externalId: string;
  kind: "page" | "video" | "task";
  title: string;
  url: string;
  /** Median seconds of attention that it requires; for a video its length. */
  seconds: number;
  /** The end of the week of its module, in courses with deadlines. */
  dueAt: number | undefined;
}

export interface Module {
  externalId: string;
  title: string;
  url: string;
  /** Courses with deadlines open one module per week. */
  opensAt: number | undefined;
  steps: Step[];
}

export interface Course {
  index: number;
  externalId: string;
  title: string;
  url: string;
  topic: number;
  /** Its subject, as shares of the topics. */
  topics: number[];
  /** Difficulty above the average, in standard deviations. */
  difficulty: number;
  /** Its attraction for all learners, independent of their preferences. */
  appeal: number;
  /** The course that must have been completed before. */
  requires: Course | undefined;
  /** Courses with deadlines run in a fixed period, the others at any time. */
  availableFrom: number;
  availableUntil: number | undefined;
  modules: Module[];
}

export interface Catalogue {
  home: { externalId: string; title: string; url: string };
  courses: Course[];
}

/** The platform's subjects. A course may require an earlier one of its subject, by position. */
const SUBJECTS: readonly { name: string; courses: readonly { title: string; requires?: number }[] }[] = [
  {
    name: "Data Science",
    courses: [
      { title: "Statistics from Scratch" },
      { title: "Python for Data Analysis" },
      { title: "Probability in Practice", requires: 0 },
      { title: "Machine Learning Foundations", requires: 1 },
      { title: "Causal Inference", requires: 2 },
      { title: "Deep Learning", requires: 3 },
    ],
  },
  {
    name: "Web Development",
    courses: [
      { title: "HTML and CSS" },
      { title: "JavaScript Essentials" },
      { title: "Databases for the Web" },
      { title: "TypeScript in Depth", requires: 1 },
      { title: "Accessible Interfaces", requires: 0 },
      { title: "Distributed Systems", requires: 2 },
    ],
  },
  {
    name: "Design",
    courses: [
      { title: "Drawing for Designers" },
      { title: "Typography" },
      { title: "User Research" },
      { title: "Colour and Composition", requires: 0 },
      { title: "Interaction Design", requires: 2 },
      { title: "Design Systems", requires: 4 },
    ],
  },
  {
    name: "Business",
    courses: [
      { title: "Bookkeeping Basics" },
      { title: "Marketing Fundamentals" },
      { title: "Corporate Finance", requires: 0 },
      { title: "Negotiation" },
      { title: "Product Management" },
      { title: "Strategy", requires: 1 },
    ],
  },
  {
    name: "Languages",
    courses: [
      { title: "Spanish for Beginners" },
      { title: "Academic English" },
      { title: "Spanish Conversation", requires: 0 },
      { title: "German Grammar" },
      { title: "Mandarin Tones and Characters" },
      { title: "Translation Workshop", requires: 2 },
    ],
  },
  {
    name: "Humanities",
    courses: [
      { title: "World History" },
      { title: "Creative Writing" },
      { title: "Philosophy of Mind" },
      { title: "Ethics of Technology" },
      { title: "Art of the Renaissance", requires: 0 },
      { title: "Film Studies" },
    ],
  },
  {
    name: "Natural Science",
    courses: [
      { title: "Everyday Chemistry" },
      { title: "Classical Mechanics" },
      { title: "Biology of the Cell", requires: 0 },
      { title: "Climate Science" },
      { title: "Quantum Physics", requires: 1 },
      { title: "Genetics", requires: 2 },
    ],
  },
  {
    name: "Health",
    courses: [
      { title: "Nutrition" },
      { title: "Psychology of Learning" },
      { title: "Anatomy" },
      { title: "Public Health" },
      { title: "Epidemiology", requires: 3 },
      { title: "Neuroscience", requires: 2 },
    ],
  },
];

export const TOPICS: readonly string[] = SUBJECTS.map((subject) => subject.name);

const MODULE_TITLES = ["Getting started", "Core ideas", "Working with examples", "Going deeper", "Putting it together"];
const SITE = "https://canvasflow.example";

export function buildCatalogue(options: Options): Catalogue {
  const random = new Random(`canvas flow/${options.seed}/catalogue`);
  const courses: Course[] = [];
  for (let index = 0; index < options.courses; index += 1) {
    courses.push(buildCourse(index, courses, random.fork(index), options));
  }
  return { home: { externalId: "home", title: "Dashboard", url: `${SITE}/` }, courses };
}

function buildCourse(index: number, earlier: readonly Course[], random: Random, options: Options): Course {
  const topic = index % SUBJECTS.length;
  const rank = Math.floor(index / SUBJECTS.length);
  const { courses: known } = at(SUBJECTS, topic);
  const edition = Math.floor(rank / known.length);
  const { title: name, requires } = at(known, rank % known.length);
  const title = edition === 0 ? name : `${name} ${edition + 1}`;
  const slug = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const url = `${SITE}/courses/${slug}`;

  const topics = random.dirichlet(SUBJECTS.length, 0.2).map((share) => share * 0.3);
  topics[topic] = at(topics, topic) + 0.7;
  const difficulty = random.normal();
  const appeal = random.normal(0, 0.7);

  const moduleCount = random.integer(3, 5);
  const withDeadlines = random.chance(0.5);
  const startsAt = startOf(options) + WEEK * random.integer(0, Math.max(0, options.weeks - 3));
  const modules = Array.from({ length: moduleCount }, (_, position): Module => {
    const externalId = `${slug}/${position + 1}`;
    const moduleUrl = `${url}/modules/${position + 1}`;
    const opensAt = withDeadlines ? startsAt + position * WEEK : undefined;
    const dueAt = opensAt === undefined ? undefined : opensAt + WEEK - 60_000;
    const readings = random.integer(2, 4);
    const steps: Step[] = [];
    for (let reading = 1; reading <= readings; reading += 1) {
      steps.push({
        externalId: `${externalId}/reading-${reading}`,
        kind: "page",
        title: `${title}: reading ${position + 1}.${reading}`,
        url: `${moduleUrl}/reading-${reading}`,
        seconds: Math.round(random.logNormal(70, 0.4)),
        dueAt: undefined,
      });
    }
    if (random.chance(0.7)) {
      steps.splice(random.integer(1, readings), 0, {
        externalId: `${externalId}/video`,
        kind: "video",
        title: `${title}: video ${position + 1}`,
        url: `${moduleUrl}/video`,
        seconds: Math.round(random.between(60, 240)),
        dueAt: undefined,
      });
    }
    steps.push({
      externalId: `${externalId}/task`,
      kind: "task",
      title: `${title}: task ${position + 1}`,
      url: `${moduleUrl}/task`,
      seconds: Math.round(random.logNormal(150, 0.4)),
      dueAt,
    });
    return { externalId, title: `${title}: ${at(MODULE_TITLES, position)}`, url: moduleUrl, opensAt, steps };
  });

  return {
    index,
    externalId: slug,
    title,
    url,
    topic,
    topics,
    difficulty,
    appeal,
    requires:
      requires === undefined ? undefined : earlier[(edition * known.length + requires) * SUBJECTS.length + topic],
    availableFrom: withDeadlines ? startsAt - 2 * WEEK : startOf(options) - 4 * WEEK,
    availableUntil: withDeadlines ? startsAt + (moduleCount + 1) * WEEK : undefined,
    modules,
  };
}

/** Courses with deadlines accept learners until a week after they started. */
export function opensForEnrolment(course: Course, instant: number): boolean {
  const [opening] = course.modules;
  if (opening?.opensAt === undefined) return true;
  return instant >= course.availableFrom && instant < opening.opensAt + 7 * DAY;
}

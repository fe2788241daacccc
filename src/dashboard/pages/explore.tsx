import { useLocation } from "preact-iso";
import { present, useLoaded } from "../data.ts";
import { componentOf, type View, viewNames, viewOf } from "../explore/views.ts";
import { Choice, Field, Names, SettingsForm, Tick } from "../form.tsx";
import { type NamesQuery, names } from "../operations.ts";
import type { Session } from "../session.ts";
import { dateOf, periodOf, periods, type Settings } from "../settings.ts";
import { texts } from "../texts.ts";

const words = texts.explore;

/** Settings that all views share: they are kept when another one is chosen. */
const shared = ["days", "from", "to", "among", "event", "item"];

/** Views that are broken down by sets and traits of people only. */
const ofPeople: readonly View[] = ["paths", "items"];

const choices = (list: readonly string[]) => list.map((name) => [name, words.choices[name] ?? name] as const);

const buckets = {
  trends: ["day", "hour", "week", "month"],
  retention: ["week", "day", "month"],
  lifecycle: ["week", "day", "month"],
  stickiness: ["day", "week", "month"],
  sessions: ["day", "week", "month"],
} as const;

function Period({ settings }: { settings: Settings }) {
  const { since, days } = periodOf(settings);
  const offered = [...periods.map((period) => [String(period), texts.period.days(period)] as const)];
  return (
    <>
      <Choice
        label={texts.period.label}
        name="days"
        value={String(days)}
        choices={[...offered, ["custom", words.custom] as const]}
      />
      {days === "custom" && (
        <>
          <Field label={words.from} name="from" type="date" value={settings["from"] ?? dateOf(new Date(since))} />
          <Field label={words.to} name="to" type="date" value={settings["to"]} />
        </>
      )}
    </>
  );
}

/** The steps that are given, and a field for a further one. */
function Steps({ settings }: { settings: Settings }) {
  const given = Array.from({ length: 10 }, (_, index) => settings[`step${index + 1}`]);
  const last = given.findLastIndex((step) => step !== undefined);
  return Array.from({ length: Math.min(10, Math.max(2, last + 2)) }, (_, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: a step is known by its number.
    <Field key={index} label={words.step(index + 1)} name={`step${index + 1}`} list="events" value={given[index]} />
  ));
}

function Fields({ view, settings }: { view: View; settings: Settings }) {
  const field = (name: keyof typeof words.fields, list?: string, placeholder?: string) => (
    <Field
      label={words.fields[name]}
      name={name}
      list={list}
      value={settings[name]}
      {...(placeholder === undefined ? {} : { placeholder })}
    />
  );
  const choice = (name: keyof typeof words.fields, list: readonly string[]) => (
    <Choice label={words.fields[name]} name={name} value={settings[name]} choices={choices(list)} />
  );
  const tick = (name: keyof typeof words.fields) => (
    <Tick label={words.fields[name]} name={name} value={settings[name]} />
  );
  if (view === "cohorts") return null;
  const withEvent = ["trends", "retention", "lifecycle", "stickiness"].includes(view);
  const withItem = withEvent || view === "funnel";
  return (
    <>
      {view === "funnel" && <Steps settings={settings} />}
      {view === "timeline" && field("person")}
      {withEvent && field("event", "events", words.anyEvent)}
      {view === "retention" && field("returnEvent", "events", words.anyEvent)}
      {withItem && field("item", "items", words.anyItem)}
      {view === "trends" && choice("measure", ["events", "people", "perPerson"])}
      {view in buckets && choice("bucket", buckets[view as keyof typeof buckets])}
      {view === "funnel" && choice("order", ["ordered", "strict", "unordered"])}
      {view === "funnel" && choice("within", ["14", "1", "7", "30", "90"])}
      {view === "paths" && choice("nodes", ["item", "kind", "course", "event", "page_or_event"])}
      {view === "paths" && field("startAt", "items")}
      {view === "paths" && field("endAt", "items")}
      {view === "paths" && choice("steps", ["4", "3", "5", "6", "8"])}
      {view === "items" && choice("kind", ["course", "module", "page", "video", "task"])}
      {view === "items" && choice("measure", ["people", "events", "engaged"])}
      {view === "sessions" && choice("measure", ["engaged", "duration", "views"])}
      {view !== "timeline" && field("among", "sets", words.allPeople)}
      {(withItem || view === "sessions") && view !== "lifecycle" && field("breakdown", "breakdowns", words.none)}
      {ofPeople.includes(view) && field("breakdown", "families", words.none)}
      <Period settings={settings} />
      {view === "retention" && tick("firstTime")}
      {view === "stickiness" && tick("orMore")}
      {view !== "timeline" && tick("compare")}
    </>
  );
}

/** The names that the forms offer, of events, items, sets of people and breakdowns. */
function Lists({ known }: { known: NamesQuery | undefined }) {
  const sets = present(known?.trackPersonSets?.nodes);
  const families = new Set(sets.flatMap(({ name }) => (name.includes(".") ? [name.slice(0, name.indexOf("."))] : [])));
  const properties = new Set(present(known?.trackDeclaredProperties?.nodes).map(({ property }) => property));
  return (
    <>
      <Names id="events" names={present(known?.trackEventTypes?.nodes).map(({ name }) => [name])} />
      <Names
        id="items"
        names={present(known?.trackItems?.nodes).map(({ externalId, title, kind }) => [
          externalId,
          `${title ?? externalId} (${kind})`,
        ])}
      />
      <Names id="sets" names={sets.map(({ name, description }) => [name, description.slice(0, 80)])} />
      <Names id="families" names={[...families].map((family) => [`set.${family}`] as const)} />
      <Names
        id="breakdowns"
        names={[
          ["item"],
          ...[...families].map((family) => [`set.${family}`] as const),
          ...[...properties].map((property) => [`property.${property}`] as const),
        ]}
      />
    </>
  );
}

/** Questions about use, of which each answer is kept by the address of the page. */
export default function Explore({ session }: { session: Session }) {
  const { query, path } = useLocation();
  const offered = viewNames.filter((view) => view !== "timeline" || session.role === "admin");
  const asked = viewOf(query["view"]);
  const view = offered.includes(asked) ? asked : "trends";
  const { result } = useLoaded(names, {});
  const kept = Object.entries(query).filter(([name]) => shared.includes(name));
  const titles = new Map(present(result?.trackItems?.nodes).map(({ externalId, title }) => [externalId, title]));
  const Shown = componentOf(view);
  return (
    <>
      <nav class="views" aria-label={words.views}>
        {offered.map((name) => (
          <a
            key={name}
            href={`${path}?${new URLSearchParams([["view", name], ...kept])}`}
            aria-current={name === view ? "page" : undefined}
          >
            {words.names[name]}
          </a>
        ))}
      </nav>
      <Lists known={result} />
      <SettingsForm key={view} label={words.settings} fixed={{ view }}>
        {(settings) => <Fields view={view} settings={settings} />}
      </SettingsForm>
      <div class="cards" key={view}>
        <Shown settings={query} period={periodOf(query)} titleOf={(item) => titles.get(item) ?? item} />
      </div>
    </>
  );
}

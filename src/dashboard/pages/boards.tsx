import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { addresses } from "../addresses.ts";
import { messageOf, present, send, useLoaded } from "../data.ts";
import { componentOf, viewOf } from "../explore/views.ts";
import { moment } from "../format.ts";
import { deleteView, names, type SavedViewsQuery, savedViews, saveView } from "../operations.ts";
import type { Session } from "../session.ts";
import { Pinned, periodOf, type Settings } from "../settings.ts";
import { texts } from "../texts.ts";

const words = texts.boards;

type Saved = NonNullable<NonNullable<NonNullable<SavedViewsQuery["analyticsSavedViews"]>["nodes"]>[number]>;

type Page = FunctionComponent<{ session: Session }>;

/** The pages whose cards are shown on boards, beside Explore. */
const pages: Readonly<Record<string, () => Promise<{ default: Page }>>> = {
  [addresses.overview]: () => import("./overview.tsx"),
  [addresses.courses]: () => import("./courses.tsx"),
  [addresses.experiments]: () => import("./experiments.tsx"),
  [addresses.recommendations]: () => import("./recommendations.tsx"),
  [addresses.models]: () => import("./models.tsx"),
  [addresses.operations]: () => import("./operations.tsx"),
};

function OtherPage({ path, session }: { path: string; session: Session }) {
  const [Shown, setShown] = useState<Page>();
  const [failed, setFailed] = useState(false);
  const load = pages[path];
  useEffect(() => {
    load?.().then(
      (page) => setShown(() => page.default),
      () => setFailed(true),
    );
  }, [load]);
  if (failed) return <p class="note bad">{texts.card.chartFailed}</p>;
  if (load === undefined) return <p class="note">{words.elsewhere}</p>;
  if (Shown === undefined) return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
  return <Shown session={session} />;
}

/** A pinned view: its figures with the settings that it was saved with. */
function PinnedView({
  saved,
  session,
  titleOf,
}: {
  saved: Saved;
  session: Session;
  titleOf: (item: string) => string;
}) {
  const [path = "", search = ""] = saved.address.split("?");
  const { card, ...settings } = Object.fromEntries(new URLSearchParams(search)) as Settings;
  const Shown = componentOf(viewOf(settings["view"]));
  return (
    <section aria-label={saved.name} class="pinned">
      <h2>
        <a href={saved.address}>{saved.name}</a>
      </h2>
      <Pinned.Provider value={{ settings, card }}>
        {path === addresses.explore ? (
          <div class="cards">
            <Shown settings={settings} period={periodOf(settings)} titleOf={titleOf} />
          </div>
        ) : (
          <OtherPage path={path} session={session} />
        )}
      </Pinned.Provider>
    </section>
  );
}

function Row({ saved, session, onChange }: { saved: Saved; session: Session; onChange: (said: string) => void }) {
  const [isSure, setSure] = useState(false);
  const isOwn = saved.createdBy === session.person;
  const mayChange = isOwn || session.role === "admin";
  const attempt = async (action: () => Promise<unknown>, said: string): Promise<void> => {
    try {
      await action();
      onChange(said);
    } catch (error) {
      onChange(messageOf(error));
    }
  };
  const { viewId, name, address, board, boardPosition, isShared } = saved;
  const share = () =>
    attempt(
      () => send(saveView, { input: { viewId, name, address, board, boardPosition, isShared: !isShared } }),
      isShared ? words.nowPrivate : words.nowShared,
    );
  const remove = () => attempt(() => send(deleteView, { input: { viewId } }), words.deleted);
  return (
    <li>
      <div>
        <a href={address}>{name}</a>
        <span class="note">
          {words.by(saved.createdBy, moment(saved.changedAt))} {isShared ? words.isShared : words.isPrivate}
          {board !== null && ` ${words.on(board)}`}
        </span>
      </div>
      {mayChange && (
        <>
          <button type="button" class="quiet" onClick={() => void share()}>
            {isShared ? words.unshare : words.share}
          </button>
          {isSure ? (
            <>
              <button type="button" class="danger" onClick={() => void remove()}>
                {words.sure}
              </button>
              <button type="button" class="quiet" onClick={() => setSure(false)}>
                {words.keep}
              </button>
            </>
          ) : (
            <button type="button" class="quiet" onClick={() => setSure(true)}>
              {words.delete}
            </button>
          )}
        </>
      )}
    </li>
  );
}

/** Boards of pinned views, and all views that the reader has saved or that are shared. */
export default function Boards({ session }: { session: Session }) {
  const { query, path, route } = useLocation();
  const { result, error, reload } = useLoaded(savedViews, {});
  const known = useLoaded(names, {});
  const [said, setSaid] = useState<string>();
  const all = present(result?.analyticsSavedViews?.nodes);
  const { id } = query;
  const linked = id === undefined ? undefined : all.find(({ viewId }) => viewId === id);
  useEffect(() => {
    if (linked !== undefined) route(linked.address, true);
  }, [linked, route]);
  if (error !== undefined && result === undefined) {
    return (
      <p class="note bad" role="alert">
        {error.message}
      </p>
    );
  }
  if (result === undefined) return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
  const boards = [...new Set(all.flatMap(({ board }) => board ?? []))];
  const chosen = boards.find((board) => board === query["board"]) ?? boards[0];
  const titles = new Map(present(known.result?.trackItems?.nodes).map(({ externalId, title }) => [externalId, title]));
  return (
    <>
      {id !== undefined && linked === undefined && (
        <p class="note" role="status">
          {words.notSeen}
        </p>
      )}
      {boards.length > 0 && (
        <nav class="views" aria-label={words.boards}>
          {boards.map((board) => (
            <a
              key={board}
              href={`${path}?${new URLSearchParams({ board })}`}
              aria-current={board === chosen ? "page" : undefined}
            >
              {board}
            </a>
          ))}
        </nav>
      )}
      {all
        .filter(({ board }) => board !== null && board === chosen)
        .map((saved) => (
          <PinnedView
            key={`${saved.viewId} ${saved.address}`}
            saved={saved}
            session={session}
            titleOf={(item) => titles.get(item) ?? item}
          />
        ))}
      <section class="card wide" aria-labelledby="saved">
        <header>
          <h2 id="saved">{words.all}</h2>
        </header>
        <p class="note" role="status">
          {said}
        </p>
        {all.length === 0 && <p class="note">{words.empty}</p>}
        <ul class="list">
          {all.map((saved) => (
            <Row
              key={saved.viewId}
              saved={saved}
              session={session}
              onChange={(said) => {
                setSaid(said);
                reload();
              }}
            />
          ))}
        </ul>
      </section>
    </>
  );
}

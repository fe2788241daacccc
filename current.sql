-- Changes of structure since the last release: see migrations/README.md.

-- Messages of several requests in one batch.
drop function if exists
  track._person_problem(track.message_fields, track.message_sender),
  track._enter_people(text[], text[], uuid),
  track._enter_people_of(track.parsed_message[], uuid),
  track._store_signals(track.parsed_message[], text[], timestamptz),
  track._ask_consent(track.parsed_message[], text[]),
  track._withheld_messages(track.parsed_message[], text[]),
  track._may_withhold(track.parsed_message[], text[]);

do $do$
begin
  if to_regtype('track.message_request') is null then
    create type track.message_request as (
      messages int, person text, browser uuid, sends_gpc boolean, sends_dnt boolean, user_agent text
    );
    alter type track.message_sender
      drop attribute person, drop attribute browser, drop attribute opt_out, drop attribute user_agent,
      add attribute requests track.message_request[];
    alter type track.message_fields
      add attribute caller text, add attribute browser uuid, add attribute sends_gpc boolean,
      add attribute sends_dnt boolean, add attribute user_agent text;
    alter type track.parsed_message
      add attribute caller text, add attribute browser uuid, add attribute sends_gpc boolean,
      add attribute sends_dnt boolean;
  end if;
end;
$do$;
comment on type track.message_request is $$
A request whose messages are in a batch. The API stores messages of several requests by one call.
$$;
comment on column track.message_request.messages is $$
Number of its messages, which are next to each other in the batch; null when all of them are.
$$;
comment on column track.message_request.person is $$
The `userId` that a signed-in person may send; null for other senders.
$$;
comment on column track.message_request.browser is $$
Hash of the signed cookie of the calling browser; null without one.
$$;
comment on column track.message_request.sends_gpc is $$Whether it has the opt-out signal `gpc` (header Sec-GPC).$$;
comment on column track.message_request.sends_dnt is $$Whether it has the opt-out signal `dnt` (header DNT).$$;
comment on column track.message_request.user_agent is $$
User agent of the request, for messages without one; null unless it is that of a browser.
It is null for servers, which send the messages of others.
$$;

comment on column track.message_sender.requests is $$The requests of the batch, in the order of its messages.$$;
comment on column track.message_fields.caller is $$As `track.message_request.person`.$$;
comment on column track.message_fields.browser is $$As `track.message_request.browser`.$$;
comment on column track.message_fields.sends_gpc is $$As `track.message_request.sends_gpc`.$$;
comment on column track.message_fields.sends_dnt is $$As `track.message_request.sends_dnt`.$$;
comment on column track.message_fields.user_agent is $$As `track.message_request.user_agent`.$$;
comment on column track.parsed_message.user_agent is $$
User agent that the message states, or else that of its request; null without one, and from `track._minimise` on.
$$;
comment on column track.parsed_message.caller is $$As `track.message_request.person`.$$;
comment on column track.parsed_message.browser is $$As `track.message_request.browser`.$$;
comment on column track.parsed_message.sends_gpc is $$As `track.message_request.sends_gpc`.$$;
comment on column track.parsed_message.sends_dnt is $$As `track.message_request.sends_dnt`.$$;

-- Rules and their effect.
do $do$
begin
  if to_regtype('recommend.rule_effect') is null then
    create type recommend.rule_effect as (rank int, former_rank int, item text, title text);
  end if;
end;
$do$;
comment on type recommend.rule_effect is $$
An item of a list as it would be with a rule, or of the present list.
$$;
comment on column recommend.rule_effect.rank is $$Rank with the rule, 1 for the best one; null when it is not listed.$$;
comment on column recommend.rule_effect.former_rank is $$Rank without the rule; null when it is not listed.$$;
comment on column recommend.rule_effect.item is $$External id of the item.$$;
comment on column recommend.rule_effect.title is $$Title of the item; null when unknown.$$;

-- A leaf of a forest of several classes has a value for each class.
alter table ml.tree_node
  add column if not exists class_values float8[],
  drop constraint if exists tree_node_check2,
  -- A model has some thousands of rows.
  -- squawk-ignore constraint-missing-not-valid
  add constraint tree_node_check2 check (num_nonnulls(feature, value, class_values) = 1);
comment on column ml.tree_node.value is $$
Contribution of a leaf to the score; null in a tree of several classes.
$$;
comment on column ml.tree_node.class_values is $$
Contribution of a leaf to the score of each class, in a tree of several classes; null in trees of one score.
$$;
drop function if exists ml._tree_values(bigint, jsonb);
drop function if exists ml._explain(ml.model, text, text, text, text);
drop function if exists ml.explain(text, jsonb, int);
drop function if exists ml.explain_each(text, anyarray, int);
comment on column ml.contribution.feature_value is $$
Its value as text; null when missing. With several classes, that of `(base)` is the class whose score is explained.
$$;

-- Items that imports state.
create table if not exists track.imported_item (
  source_id smallint not null references track.source,
  item_id bigint not null references track.item,
  kind text check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  title text,
  url text,
  parent_item_id bigint references track.item,
  stated_at timestamptz not null default clock_timestamp(),
  primary key (source_id, item_id)
);

comment on table track.imported_item is $$
@behavior -*
What imports state about items without an event: the structure of courses.
It has precedence over what messages tell, and the tables of the application over both. Of several imports, the one that
stated an item last counts. `track.forget_import` deletes the rows of an import.
$$;
comment on column track.imported_item.source_id is $$Source of the import.$$;
comment on column track.imported_item.item_id is $$Item, under the name that the import gave.$$;
comment on column track.imported_item.kind is $$Kind; null when the import states none.$$;
comment on column track.imported_item.title is $$Title; null when the import states none.$$;
comment on column track.imported_item.url is $$URL; null when the import states none.$$;
comment on column track.imported_item.parent_item_id is $$Parent; null when the import states none.$$;
comment on column track.imported_item.stated_at is $$Time of the last change of the row.$$;

create index if not exists imported_item_item on track.imported_item (item_id);
create index if not exists imported_item_parent on track.imported_item (parent_item_id);
alter table track.imported_item enable row level security;

-- Calls without a key.
-- squawk-ignore ban-drop-column
alter table recommend.serving_call drop column if exists call_id;
alter table recommend.serving_call replica identity full;

comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants that `recommend.refresh_serving_times` has not counted yet.
Append-only, so that no call waits for another one. Without the person and the time of the list, and without a key,
whose index would take as long as the row: a publication of logical replication identifies a row by all of its columns.
$$;
drop function if exists analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, text, text, int
);

drop function if exists analytics._has_ties(timestamptz[], timestamptz[], int);

drop function if exists analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz);

drop function if exists analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz);

drop function if exists analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
);

drop function if exists analytics._search_best(analytics.step_filter[], int, boolean);

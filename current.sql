-- Changes of structure since the last release: see migrations/README.md.

/* ------------------------------------------------------------------------------------------------ saved views -- */

create table analytics.saved_view (
  view_id bigint generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  address text not null check (
    length(address) <= 4000
    and address ~ '^/[a-z-]+(\?([A-Za-z0-9_]+=[^&#]*(&|$))*)?$'
    and address !~ '[?&]person='
  ),
  is_shared boolean not null default false,
  board text check (length(board) between 1 and 100),
  board_position int not null default 0,
  created_by text not null,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);

comment on table analytics.saved_view is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
Saved views of the pages: the address of a page with its settings, under a name.
Analysts and administrators see their own, and those that are shared. A view contains no figures: who opens it sees
what she may see.
$$;
comment on column analytics.saved_view.view_id is $$Key of the view.$$;
comment on column analytics.saved_view.name is $$Name, as shown in lists and on the board.$$;
comment on column analytics.saved_view.address is $$Path of the page with its settings, such as /explore?view=funnel.$$;
comment on column analytics.saved_view.is_shared is $$Whether all analysts and administrators see it.$$;
comment on column analytics.saved_view.board is $$Board on which it is pinned; null when it is on none.$$;
comment on column analytics.saved_view.board_position is $$Place on the board: views of lower numbers come first.$$;
comment on column analytics.saved_view.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.saved_view.created_at is $$Time at which the view was saved first.$$;
comment on column analytics.saved_view.changed_at is $$Time at which the view was saved last.$$;

create index saved_view_author on analytics.saved_view (created_by);

alter table analytics.saved_view enable row level security;

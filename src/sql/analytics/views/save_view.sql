create or replace function analytics.save_view(
  name text,
  address text,
  is_shared boolean default false,
  board text default null,
  board_position int default 0,
  view_id bigint default null
)
returns analytics.saved_view
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_view analytics.saved_view;
begin
  -- An invoker: the row policies of the table apply.
  if coalesce(btrim(save_view.name), '') = '' then
    perform common.refuse('CF001', 'the view has no name', 'Give a name, such as "Completion of the spring term".');
  end if;
  if length(save_view.name) > 200 or length(save_view.board) > 100 or length(save_view.address) > 4000 then
    perform common.refuse(
      'CF008',
      format(
        'the name, the board and the address have %s, %s and %s characters',
        length(save_view.name), coalesce(length(save_view.board), 0), coalesce(length(save_view.address), 0)
      ),
      'They can have at most 200, 100 and 4,000.'
    );
  end if;
  if save_view.address is null or save_view.address !~ '^/[a-z-]+(\?([A-Za-z0-9_]+=[^&#]*(&|$))*)?$' then
    perform common.refuse(
      'CF001',
      format('the address is "%s"', coalesce(left(save_view.address, 100), 'null')),
      'Give the path of a page with its settings, such as /explore?view=funnel.'
    );
  end if;
  if save_view.address ~ '[?&]person=' then
    perform common.refuse('CF005', 'the view is about one person', 'Save a view of many people.');
  end if;

  if save_view.view_id is not null then
    update analytics.saved_view
    set
      name = btrim(save_view.name),
      address = save_view.address,
      is_shared = coalesce(save_view.is_shared, false),
      board = nullif(btrim(save_view.board), ''),
      board_position = coalesce(save_view.board_position, 0),
      changed_at = now()
    where saved_view.view_id = save_view.view_id
    returning * into v_view;
    if found then
      return v_view;
    end if;
    if exists (select from analytics.saved_view where saved_view.view_id = save_view.view_id) then
      perform common.refuse('CF005', format('view %s is by another author', save_view.view_id),
        'Leave out view_id to save your own. Its author or an administrator can change it.');
    end if;
    perform common.refuse('CF002', format('there is no view %s, or it is private', save_view.view_id),
      'Leave out view_id to save your own.');
  end if;

  if (select count(*) from analytics.saved_view where saved_view.created_by = common.author()) >= 1000 then
    perform common.refuse('CF008', 'you have 1,000 saved views', 'Delete those that you do not use.');
  end if;
  insert into analytics.saved_view (name, address, is_shared, board, board_position, created_by)
  values (
    btrim(save_view.name), save_view.address, coalesce(save_view.is_shared, false),
    nullif(btrim(save_view.board), ''), coalesce(save_view.board_position, 0), common.author()
  )
  returning * into v_view;
  return v_view;
end;
$$;

comment on function analytics.save_view(text, text, boolean, text, int, bigint) is $$
Saves a view of the pages, and returns it.
`address`: the path of a page with its settings. `is_shared`: all analysts and administrators see it, and only the
author and administrators change it. `board`: pins it on the board of this name, where `board_position` orders.
`view_id`: replaces this view; null saves another one. A view contains no figures, and cannot be about one person.
Errors: CF001 for an invalid argument, CF002 for an unknown view, CF005 for a view of another author or of one person,
CF008 for values that are too long, and more than 1,000 views.
$$;

grant execute on function analytics.save_view(text, text, boolean, text, int, bigint)
to insights_analyst, insights_admin;

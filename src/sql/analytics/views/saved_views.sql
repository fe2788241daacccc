create or replace function analytics.saved_views(board text default null)
returns setof analytics.saved_view
language sql
stable
begin atomic
  -- An invoker: the row policies of the table apply.
  select saved_view.*
  from analytics.saved_view
  where saved_views.board is null
    or saved_view.board = saved_views.board
  order by saved_view.board, saved_view.board_position, saved_view.name, saved_view.view_id;
end;

comment on function analytics.saved_views(text) is $$
Returns the saved views that the caller sees: her own, and those that are shared.
`board`: those on this board; null: all. In the order of their boards and of their places there.
$$;

grant execute on function analytics.saved_views(text) to insights_analyst, insights_admin;

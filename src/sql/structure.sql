/* Run once, room by room: schemas, tables, indexes, types. */
--!include prepare.sql
--!include common/tables.sql
--!include ml/tables.sql
--!include privacy/tables.sql
--!include track/tables.sql
--!include experiment/tables.sql
--!include analytics/tables.sql
--!include recommend/tables.sql
--!include monitor/tables.sql

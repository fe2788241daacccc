/* Installs into an empty database. A test compares the result with that of the migrations. */
--!include structure.sql
--!include all.sql

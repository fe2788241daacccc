/* From empty to complete: structure, then everything that can be replayed. The parity test holds it against the
 * migrations. */
--!include structure.sql
--!include all.sql

"""The report: a workbook of all tables and a single page, with methods, participant flow and checklists."""

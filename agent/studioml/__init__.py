"""Everything StudioML: its clients' messages become jobs with their cargo, and its clients are told what they look for.

reading        under what circumstances a message is read: queue, time, keys, what the operator allows
request        a message into (job, cargo), by the modules below; nobody outside asks what form a job had
envelope       sealed and signed messages; sealing of reports
experiment     the job of a request: fields, durations, resources, arguments, environment, packages
artifacts      what is fetched and uploaded: places, credentials, database
observer       who is told of an attempt: record, status, results, metadata, report, senders
"""

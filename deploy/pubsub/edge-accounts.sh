gcloud iam service-accounts create edge-agent --project=my-project
gcloud iam service-accounts create edge-submit --project=my-project
gcloud iam service-accounts create edge-operator --project=my-project
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.plain --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-none --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-nvidia --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-jetson --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.plain --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-agent buries jobs that nobody can run: pubsub.topics.publish
gcloud pubsub topics add-iam-policy-binding edge-jobs-dead --project=my-project --member=serviceAccount:edge-agent@my-project.iam.gserviceaccount.com --role=roles/pubsub.publisher
# edge-submit submits jobs: pubsub.topics.publish
gcloud pubsub topics add-iam-policy-binding edge-jobs --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.publisher
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-none --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-nvidia --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-jetson --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.plain --project=my-project --member=serviceAccount:edge-submit@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator reads dead letters, and takes them off: pubsub.subscriptions.consume
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs-dead --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.subscriber
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.any-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.amd64-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm64-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.arm-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.386-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.ppc64le-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.s390x-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-none --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-nvidia --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.riscv64-jetson --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs.plain --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees its settings: pubsub.subscriptions.get
gcloud pubsub subscriptions add-iam-policy-binding edge-jobs-dead --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator submits again what was buried: pubsub.topics.publish
gcloud pubsub topics add-iam-policy-binding edge-jobs --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.publisher
# edge-operator sees whether it is there: pubsub.topics.get
gcloud pubsub topics add-iam-policy-binding edge-jobs --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer
# edge-operator sees whether it is there: pubsub.topics.get
gcloud pubsub topics add-iam-policy-binding edge-jobs-dead --project=my-project --member=serviceAccount:edge-operator@my-project.iam.gserviceaccount.com --role=roles/pubsub.viewer

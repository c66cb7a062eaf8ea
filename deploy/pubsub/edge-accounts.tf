resource "google_service_account" "edge-agent" {
  account_id = "edge-agent"
  project    = "my-project"
}

resource "google_service_account" "edge-submit" {
  account_id = "edge-submit"
  project    = "my-project"
}

resource "google_service_account" "edge-operator" {
  account_id = "edge-operator"
  project    = "my-project"
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_any-none" {
  subscription = google_pubsub_subscription.edge-jobs_any-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_any-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_any-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_any-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_any-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_amd64-none" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_amd64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_amd64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_arm64-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_arm64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_arm64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_arm-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_arm-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_arm-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_386-none" {
  subscription = google_pubsub_subscription.edge-jobs_386-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_386-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_386-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_386-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_386-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_ppc64le-none" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_ppc64le-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_ppc64le-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_s390x-none" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_s390x-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_s390x-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_riscv64-none" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-none.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_riscv64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_riscv64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent pulls jobs, renews leases, acknowledges: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-agent_subscriber_subscription_edge-jobs_plain" {
  subscription = google_pubsub_subscription.edge-jobs_plain.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_any-none" {
  subscription = google_pubsub_subscription.edge-jobs_any-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_any-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_any-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_any-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_any-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_amd64-none" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_amd64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_amd64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_arm64-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_arm64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_arm64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_arm-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_arm-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_arm-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_386-none" {
  subscription = google_pubsub_subscription.edge-jobs_386-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_386-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_386-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_386-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_386-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_ppc64le-none" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_ppc64le-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_ppc64le-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_s390x-none" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_s390x-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_s390x-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_riscv64-none" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_riscv64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_riscv64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent tells a lane that is missing from one that it may not read: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-agent_viewer_subscription_edge-jobs_plain" {
  subscription = google_pubsub_subscription.edge-jobs_plain.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-agent.member
}

# edge-agent buries jobs that nobody can run: pubsub.topics.publish
resource "google_pubsub_topic_iam_member" "edge-agent_publisher_topic_edge-jobs-dead" {
  topic   = google_pubsub_topic.edge-jobs-dead.name
  project = "my-project"
  role    = "roles/pubsub.publisher"
  member  = google_service_account.edge-agent.member
}

# edge-submit submits jobs: pubsub.topics.publish
resource "google_pubsub_topic_iam_member" "edge-submit_publisher_topic_edge-jobs" {
  topic   = google_pubsub_topic.edge-jobs.name
  project = "my-project"
  role    = "roles/pubsub.publisher"
  member  = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_any-none" {
  subscription = google_pubsub_subscription.edge-jobs_any-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_any-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_any-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_any-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_any-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_amd64-none" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_amd64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_amd64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_arm64-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_arm64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_arm64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_arm-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_arm-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_arm-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_386-none" {
  subscription = google_pubsub_subscription.edge-jobs_386-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_386-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_386-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_386-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_386-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_ppc64le-none" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_ppc64le-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_ppc64le-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_s390x-none" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_s390x-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_s390x-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_riscv64-none" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_riscv64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_riscv64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-submit refuses a job for a lane that is not there: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-submit_viewer_subscription_edge-jobs_plain" {
  subscription = google_pubsub_subscription.edge-jobs_plain.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-submit.member
}

# edge-operator reads dead letters, and takes them off: pubsub.subscriptions.consume
resource "google_pubsub_subscription_iam_member" "edge-operator_subscriber_subscription_edge-jobs-dead" {
  subscription = google_pubsub_subscription.edge-jobs-dead.name
  project      = "my-project"
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_any-none" {
  subscription = google_pubsub_subscription.edge-jobs_any-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_any-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_any-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_any-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_any-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_amd64-none" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_amd64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_amd64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_amd64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_arm64-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_arm64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_arm64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_arm-none" {
  subscription = google_pubsub_subscription.edge-jobs_arm-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_arm-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_arm-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_arm-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_arm-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_386-none" {
  subscription = google_pubsub_subscription.edge-jobs_386-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_386-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_386-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_386-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_386-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_ppc64le-none" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_ppc64le-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_ppc64le-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_ppc64le-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_s390x-none" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_s390x-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_s390x-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_s390x-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_riscv64-none" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-none.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_riscv64-nvidia" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-nvidia.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_riscv64-jetson" {
  subscription = google_pubsub_subscription.edge-jobs_riscv64-jetson.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs_plain" {
  subscription = google_pubsub_subscription.edge-jobs_plain.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator sees its settings: pubsub.subscriptions.get
resource "google_pubsub_subscription_iam_member" "edge-operator_viewer_subscription_edge-jobs-dead" {
  subscription = google_pubsub_subscription.edge-jobs-dead.name
  project      = "my-project"
  role         = "roles/pubsub.viewer"
  member       = google_service_account.edge-operator.member
}

# edge-operator submits again what was buried: pubsub.topics.publish
resource "google_pubsub_topic_iam_member" "edge-operator_publisher_topic_edge-jobs" {
  topic   = google_pubsub_topic.edge-jobs.name
  project = "my-project"
  role    = "roles/pubsub.publisher"
  member  = google_service_account.edge-operator.member
}

# edge-operator sees whether it is there: pubsub.topics.get
resource "google_pubsub_topic_iam_member" "edge-operator_viewer_topic_edge-jobs" {
  topic   = google_pubsub_topic.edge-jobs.name
  project = "my-project"
  role    = "roles/pubsub.viewer"
  member  = google_service_account.edge-operator.member
}

# edge-operator sees whether it is there: pubsub.topics.get
resource "google_pubsub_topic_iam_member" "edge-operator_viewer_topic_edge-jobs-dead" {
  topic   = google_pubsub_topic.edge-jobs-dead.name
  project = "my-project"
  role    = "roles/pubsub.viewer"
  member  = google_service_account.edge-operator.member
}

"""Jobs by the first version of the API, as botocore's client asks for them, over the problem type of tables."""

import botocore.exceptions
import pytest

import houses
import mean_jobs
from api_servers import serving
from gyropilot.problems.tabular.problem import TABULAR
from mean_problem import MEAN

CHANNEL = {
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers/"}},
    "TargetAttributeName": "Churn",
}
VALIDATION = {**CHANNEL, "ChannelType": "validation"}
EVERYTHING = {
    "InputDataConfig": [{**CHANNEL, "ContentType": "text/csv", "SampleWeightAttributeName": "weight"}],
    "ProblemType": "BinaryClassification",
    "AutoMLJobObjective": {"MetricName": "AUC"},
    "GenerateCandidateDefinitionsOnly": False,
    "AutoMLJobConfig": {
        "Mode": "ENSEMBLING",
        "CompletionCriteria": {"MaxCandidates": 3, "MaxAutoMLJobRuntimeInSeconds": 60},
        "CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": ["lightgbm", "xgboost"]}]},
        "DataSplitConfig": {"ValidationFraction": 0.25},
        "SecurityConfig": {"EnableInterContainerTrafficEncryption": False},
    },
}


UNKNOWN = {
    "AutoMLJobObjective": {"MetricName": "auc"},
    "ProblemType": "BinaryClassification",
    "AutoMLJobConfig": {
        "Mode": "HYPERPARAMETER_TUNING",
        "CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": ["XGBoost"]}]},
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (TABULAR,))
    house.objects.put_bytes("data", "numbers/a.csv", b"age,weight,Churn\n1,2,yes\n", "text/csv")
    house.objects.put_bytes("data", "features.json", b"{}", "application/json")
    with serving(house) as running:
        yield running
    house.db.close()


@pytest.fixture(scope="module")
def sagemaker(server):
    return server.client()


def created(sagemaker, name, **request):
    asked = {
        "AutoMLJobName": name,
        "InputDataConfig": [CHANNEL],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out/"},
        "RoleArn": houses.ROLE,
    }
    return sagemaker.create_auto_ml_job(**{**asked, **request})["AutoMLJobArn"]


def refused(sagemaker, **request):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        created(sagemaker, "refused", **request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return caught.value.response["Error"]["Message"]


def test_a_full_job_is_described_as_it_was_asked_for(sagemaker):
    arn = created(sagemaker, "Full", **EVERYTHING, Tags=[{"Key": "team", "Value": "a"}])
    described = sagemaker.describe_auto_ml_job(AutoMLJobName="full")
    assert (described["AutoMLJobName"], described["AutoMLJobArn"]) == ("Full", arn)
    channel = EVERYTHING["InputDataConfig"][0] | {"ChannelType": "training"}
    for member, value in {**EVERYTHING, "InputDataConfig": [channel]}.items():
        assert described[member] == value
    assert described["OutputDataConfig"] == {"S3OutputPath": "s3://data/out/"}
    assert described["RoleArn"] == houses.ROLE
    assert (described["AutoMLJobStatus"], described["AutoMLJobSecondaryStatus"]) == ("InProgress", "Starting")
    assert described["ResolvedAttributes"] == {
        "AutoMLJobObjective": {"MetricName": "AUC"},
        "ProblemType": "BinaryClassification",
        "CompletionCriteria": {"MaxCandidates": 3, "MaxAutoMLJobRuntimeInSeconds": 60},
    }
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]


def test_a_bare_job_is_described_with_the_defaults_that_the_service_fills_in(sagemaker):
    created(sagemaker, "bare")
    described = sagemaker.describe_auto_ml_job(AutoMLJobName="bare")
    defaults = {"ContentType": "text/csv;header=present", "ChannelType": "training"}
    assert described["InputDataConfig"] == [CHANNEL | defaults]
    assert described["AutoMLJobConfig"] == {"SecurityConfig": {"EnableInterContainerTrafficEncryption": False}}
    assert described["GenerateCandidateDefinitionsOnly"] is False
    assert not {"AutoMLJobObjective", "ProblemType", "EndTime", "BestCandidate"} & described.keys()


def test_unknown_names_are_told_beside_those_that_the_problem_type_takes(sagemaker):
    told = refused(sagemaker, **UNKNOWN)
    assert "Value 'auc' at 'autoMLJobObjective.metricName' failed to satisfy constraint" in told
    assert (
        "AutoMLJobObjective.MetricName: is no objective of BinaryClassification (found 'auc'); did you mean AUC? take"
        " one of AUC, Accuracy, BalancedAccuracy, F1, Precision, Recall"
    ) in told
    assert (
        "AutoMLJobConfig.CandidateGenerationConfig.AlgorithmsConfig[0].AutoMLAlgorithms: is not of the mode"
        " HYPERPARAMETER_TUNING (found ['XGBoost']); did you mean xgboost? HYPERPARAMETER_TUNING takes linear-learner,"
        " mlp, xgboost"
    ) in told
    with pytest.raises(botocore.exceptions.ClientError, match=r"is no objective of tabular jobs \(found 'AUROC'\); "):
        sagemaker.create_auto_ml_job_v2(
            AutoMLJobName="refused",
            AutoMLJobInputDataConfig=[{"DataSource": CHANNEL["DataSource"]}],
            OutputDataConfig={"S3OutputPath": "s3://data/out/"},
            RoleArn=houses.ROLE,
            AutoMLProblemTypeConfig={"TabularJobConfig": {"TargetAttributeName": "Churn"}},
            AutoMLJobObjective={"MetricName": "AUROC"},
        )


def test_the_second_version_describes_and_lists_jobs_of_the_first(sagemaker):
    created(sagemaker, "mapped", **EVERYTHING)
    described = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="mapped")
    assert described["AutoMLProblemTypeConfigName"] == "Tabular"
    config = EVERYTHING["AutoMLJobConfig"]
    assert described["AutoMLProblemTypeConfig"] == {
        "TabularJobConfig": {
            "TargetAttributeName": "Churn",
            "SampleWeightAttributeName": "weight",
            "ProblemType": "BinaryClassification",
            "GenerateCandidateDefinitionsOnly": False,
            **{name: config[name] for name in ("Mode", "CompletionCriteria", "CandidateGenerationConfig")},
        }
    }
    assert described["AutoMLJobInputDataConfig"] == [
        {"DataSource": CHANNEL["DataSource"], "ContentType": "text/csv"},
    ]
    for member in ("DataSplitConfig", "SecurityConfig"):
        assert described[member] == config[member]
    assert described["AutoMLJobObjective"] == {"MetricName": "AUC"}
    listed = sagemaker.list_auto_ml_jobs(NameContains="mapped")["AutoMLJobSummaries"]
    assert [one["AutoMLJobName"] for one in listed] == ["mapped"]


def test_a_feature_specification_is_where_the_second_version_has_it(sagemaker):
    uri = "s3://data/features.json"
    config = {"CandidateGenerationConfig": {"FeatureSpecificationS3Uri": uri}}
    created(sagemaker, "featured", AutoMLJobConfig=config)
    tabular = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="featured")["AutoMLProblemTypeConfig"]["TabularJobConfig"]
    assert tabular == {"TargetAttributeName": "Churn", "FeatureSpecificationS3Uri": uri}
    described = sagemaker.describe_auto_ml_job(AutoMLJobName="featured")
    assert described["AutoMLJobConfig"]["CandidateGenerationConfig"] == config["CandidateGenerationConfig"]


def test_the_first_version_describes_no_job_of_the_second(sagemaker):
    sagemaker.create_auto_ml_job_v2(
        AutoMLJobName="second",
        AutoMLJobInputDataConfig=[{"DataSource": CHANNEL["DataSource"]}],
        AutoMLProblemTypeConfig={"TabularJobConfig": {"TargetAttributeName": "Churn"}},
        OutputDataConfig={"S3OutputPath": "s3://data/out/"},
        RoleArn=houses.ROLE,
    )
    for name, told in (("second", "DescribeAutoMLJobV2 describes it"), ("nobody", "no AutoML job named")):
        with pytest.raises(botocore.exceptions.ClientError, match=told) as caught:
            sagemaker.describe_auto_ml_job(AutoMLJobName=name)
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"


def test_a_name_is_taken_whichever_version_made_it(sagemaker):
    created(sagemaker, "taken")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        created(sagemaker, "TAKEN")
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"


def test_faults_are_told_by_the_fields_of_the_first_version(sagemaker):
    config = {
        "Mode": "HYPERPARAMETER_TUNING",
        "CompletionCriteria": {"MaxAutoMLJobRuntimeInSeconds": 9_999_999},
        "CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": ["catboost"]}]},
        "DataSplitConfig": {"ValidationFraction": 1.0},
        "SecurityConfig": {"VolumeKmsKeyId": "key"},
    }
    channel = {**CHANNEL, "ContentType": "image/png", "SampleWeightAttributeName": "weight"}
    told = refused(sagemaker, InputDataConfig=[channel], AutoMLJobConfig=config, ProblemType="Regression")
    for path in (
        "AutoMLJobObjective:",
        "InputDataConfig[0].ContentType:",
        "InputDataConfig[0].SampleWeightAttributeName:",
        "AutoMLJobConfig.CompletionCriteria.MaxAutoMLJobRuntimeInSeconds:",
        "AutoMLJobConfig.CandidateGenerationConfig.AlgorithmsConfig[0].AutoMLAlgorithms:",
        "AutoMLJobConfig.DataSplitConfig.ValidationFraction:",
        "AutoMLJobConfig.SecurityConfig.VolumeKmsKeyId:",
    ):
        assert path in told
    assert "TabularJobConfig" not in told
    assert "AutoMLJobInputDataConfig" not in told


def test_no_endpoint_is_promised_of_a_job_that_trains_no_model(sagemaker):
    told = refused(
        sagemaker, GenerateCandidateDefinitionsOnly=True, ModelDeployConfig={"AutoGenerateEndpointName": True}
    )
    assert "ModelDeployConfig: asks for an endpoint" in told


def test_channels_name_the_same_target_and_weight(sagemaker):
    channels = [CHANNEL, {**VALIDATION, "TargetAttributeName": "age", "SampleWeightAttributeName": "weight"}]
    told = refused(sagemaker, InputDataConfig=channels, ProblemType="Regression")
    assert "InputDataConfig[1].TargetAttributeName: is not that of the first channel, 'Churn' (found 'age')" in told
    assert "InputDataConfig[1].SampleWeightAttributeName" in told
    assert "AutoMLJobObjective: must be given" in told


def test_a_job_of_the_first_version_is_run_and_described_with_its_best_candidate(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    worker = mean_jobs.new_worker(house)
    worker.start()
    with serving(house) as running:
        sagemaker = running.client()
        created(sagemaker, "run")
        mean_jobs.ended(house, "run")
        described = sagemaker.describe_auto_ml_job(AutoMLJobName="run")
        of_second = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="run")
    worker.stop()
    house.db.close()
    assert described["AutoMLJobStatus"] == "Completed"
    assert described["EndTime"] == of_second["EndTime"]
    assert described["BestCandidate"] == of_second["BestCandidate"]
    assert described["ResolvedAttributes"]["AutoMLJobObjective"] == {"MetricName": "MSE"}


@pytest.mark.parametrize("target", ["y", "churn"])
def test_a_target_that_is_no_column_is_refused_in_the_words_that_clients_match(sagemaker, target):
    words = (
        r"^An error occurred \(ValidationException\) when calling the CreateAutoMLJob operation: "
        rf"Target attribute name {target} does not exist in header\."
    )
    with pytest.raises(botocore.exceptions.ClientError, match=words):
        created(sagemaker, "refused", InputDataConfig=[{**CHANNEL, "TargetAttributeName": target}])


def test_a_feature_specification_that_is_not_there_is_told_at_once(sagemaker):
    config = {"CandidateGenerationConfig": {"FeatureSpecificationS3Uri": "s3://data/missing.json"}}
    told = refused(sagemaker, AutoMLJobConfig=config)
    assert told.startswith("AutoMLJobConfig.CandidateGenerationConfig.FeatureSpecificationS3Uri: ")
    assert "s3://data/missing.json" in told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no JSON"),
        (b'{"FeatureAttributeNames": ["Age"]}', "is no column of the table (found 'Age'); did you mean 'age'?"),
        (b'{"FeatureAttributeNames": ["Churn"]}', "is the target, which is no feature"),
        (b'{"FeatureDataTypes": {"age": "number"}}', "is no kind of column (found 'number')"),
    ],
)
def test_a_feature_specification_that_does_not_fit_is_told_at_once(sagemaker, server, content, words):
    server.house.objects.put_bytes("data", "bad.json", content, "application/json")
    config = {"CandidateGenerationConfig": {"FeatureSpecificationS3Uri": "s3://data/bad.json"}}
    told = refused(sagemaker, AutoMLJobConfig=config)
    assert told.startswith("AutoMLJobConfig.CandidateGenerationConfig.FeatureSpecificationS3Uri: s3://data/bad.json")
    assert words in told

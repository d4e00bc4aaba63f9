"""The wire's structures as types. Written by tools/wire_types.py from the service model; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NotRequired, TypedDict

AggregationTransformationValue = Literal["sum", "avg", "first", "min", "max"]
AutoMLAlgorithm = Literal[
    "xgboost",
    "linear-learner",
    "mlp",
    "lightgbm",
    "catboost",
    "randomforest",
    "extra-trees",
    "nn-torch",
    "fastai",
    "cnn-qr",
    "deepar",
    "prophet",
    "npts",
    "arima",
    "ets",
]
AutoMLChannelType = Literal["training", "validation"]
AutoMLJobObjectiveType = Literal["Maximize", "Minimize"]
AutoMLJobSecondaryStatus = Literal[
    "Starting",
    "MaxCandidatesReached",
    "Failed",
    "Stopped",
    "MaxAutoMLJobRuntimeReached",
    "Stopping",
    "CandidateDefinitionsGenerated",
    "Completed",
    "ExplainabilityError",
    "DeployingModel",
    "ModelDeploymentError",
    "GeneratingModelInsightsReport",
    "ModelInsightsError",
    "AnalyzingData",
    "FeatureEngineering",
    "ModelTuning",
    "GeneratingExplainabilityReport",
    "TrainingModels",
    "PreTraining",
]
AutoMLJobStatus = Literal["Completed", "InProgress", "Failed", "Stopped", "Stopping"]
AutoMLMetricEnum = Literal[
    "Accuracy",
    "MSE",
    "F1",
    "F1macro",
    "AUC",
    "RMSE",
    "BalancedAccuracy",
    "R2",
    "Recall",
    "RecallMacro",
    "Precision",
    "PrecisionMacro",
    "MAE",
    "MAPE",
    "MASE",
    "WAPE",
    "AverageWeightedQuantileLoss",
]
AutoMLMetricExtendedEnum = Literal[
    "Accuracy",
    "MSE",
    "F1",
    "F1macro",
    "AUC",
    "RMSE",
    "MAE",
    "R2",
    "BalancedAccuracy",
    "Precision",
    "PrecisionMacro",
    "Recall",
    "RecallMacro",
    "LogLoss",
    "InferenceLatency",
    "MAPE",
    "MASE",
    "WAPE",
    "AverageWeightedQuantileLoss",
    "Rouge1",
    "Rouge2",
    "RougeL",
    "RougeLSum",
    "Perplexity",
    "ValidationLoss",
    "TrainingLoss",
]
AutoMLMode = Literal["AUTO", "ENSEMBLING", "HYPERPARAMETER_TUNING"]
AutoMLProblemTypeConfigName = Literal[
    "ImageClassification",
    "TextClassification",
    "TimeSeriesForecasting",
    "Tabular",
    "TextGeneration",
]
AutoMLProcessingUnit = Literal["CPU", "GPU"]
AutoMLS3DataType = Literal["ManifestFile", "S3Prefix", "AugmentedManifestFile"]
AutoMLSortBy = Literal["Name", "CreationTime", "Status"]
AutoMLSortOrder = Literal["Ascending", "Descending"]
CandidateSortBy = Literal["CreationTime", "Status", "FinalObjectiveMetricValue"]
CandidateStatus = Literal["Completed", "InProgress", "Failed", "Stopped", "Stopping"]
CandidateStepType = Literal[
    "AWS::SageMaker::TrainingJob",
    "AWS::SageMaker::TransformJob",
    "AWS::SageMaker::ProcessingJob",
]
CompressionType = Literal["None", "Gzip"]
FillingType = Literal[
    "frontfill",
    "middlefill",
    "backfill",
    "futurefill",
    "frontfill_value",
    "middlefill_value",
    "backfill_value",
    "futurefill_value",
]
MetricSetSource = Literal["Train", "Validation", "Test"]
ObjectiveStatus = Literal["Succeeded", "Pending", "Failed"]
ProblemType = Literal["BinaryClassification", "MulticlassClassification", "Regression"]


class AddTagsInput(TypedDict):
    """AddTagsInput of the service model."""

    ResourceArn: str
    Tags: Sequence[Tag]


class AddTagsOutput(TypedDict):
    """AddTagsOutput of the service model."""

    Tags: NotRequired[Sequence[Tag]]


class AutoMLAlgorithmConfig(TypedDict):
    """AutoMLAlgorithmConfig of the service model."""

    AutoMLAlgorithms: Sequence[AutoMLAlgorithm]


class AutoMLCandidate(TypedDict):
    """AutoMLCandidate of the service model."""

    CandidateName: str
    FinalAutoMLJobObjectiveMetric: NotRequired[FinalAutoMLJobObjectiveMetric]
    ObjectiveStatus: ObjectiveStatus
    CandidateSteps: Sequence[AutoMLCandidateStep]
    CandidateStatus: CandidateStatus
    InferenceContainers: NotRequired[Sequence[AutoMLContainerDefinition]]
    CreationTime: datetime
    EndTime: NotRequired[datetime]
    LastModifiedTime: datetime
    FailureReason: NotRequired[str]
    CandidateProperties: NotRequired[CandidateProperties]
    InferenceContainerDefinitions: NotRequired[Mapping[AutoMLProcessingUnit, Sequence[AutoMLContainerDefinition]]]


class AutoMLCandidateGenerationConfig(TypedDict):
    """AutoMLCandidateGenerationConfig of the service model."""

    FeatureSpecificationS3Uri: NotRequired[str]
    AlgorithmsConfig: NotRequired[Sequence[AutoMLAlgorithmConfig]]


class AutoMLCandidateStep(TypedDict):
    """AutoMLCandidateStep of the service model."""

    CandidateStepType: CandidateStepType
    CandidateStepArn: str
    CandidateStepName: str


class AutoMLChannel(TypedDict):
    """AutoMLChannel of the service model."""

    DataSource: NotRequired[AutoMLDataSource]
    CompressionType: NotRequired[CompressionType]
    TargetAttributeName: str
    ContentType: NotRequired[str]
    ChannelType: NotRequired[AutoMLChannelType]
    SampleWeightAttributeName: NotRequired[str]


class AutoMLComputeConfig(TypedDict):
    """AutoMLComputeConfig of the service model."""

    EmrServerlessComputeConfig: NotRequired[EmrServerlessComputeConfig]


class AutoMLContainerDefinition(TypedDict):
    """AutoMLContainerDefinition of the service model."""

    Image: str
    ModelDataUrl: str
    Environment: NotRequired[Mapping[str, str]]


class AutoMLDataSource(TypedDict):
    """AutoMLDataSource of the service model."""

    S3DataSource: AutoMLS3DataSource


class AutoMLDataSplitConfig(TypedDict):
    """AutoMLDataSplitConfig of the service model."""

    ValidationFraction: NotRequired[float]


class AutoMLJobArtifacts(TypedDict):
    """AutoMLJobArtifacts of the service model."""

    CandidateDefinitionNotebookLocation: NotRequired[str]
    DataExplorationNotebookLocation: NotRequired[str]


class AutoMLJobChannel(TypedDict):
    """AutoMLJobChannel of the service model."""

    ChannelType: NotRequired[AutoMLChannelType]
    ContentType: NotRequired[str]
    CompressionType: NotRequired[CompressionType]
    DataSource: NotRequired[AutoMLDataSource]


class AutoMLJobCompletionCriteria(TypedDict):
    """AutoMLJobCompletionCriteria of the service model."""

    MaxCandidates: NotRequired[int]
    MaxRuntimePerTrainingJobInSeconds: NotRequired[int]
    MaxAutoMLJobRuntimeInSeconds: NotRequired[int]


class AutoMLJobConfig(TypedDict):
    """AutoMLJobConfig of the service model."""

    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]
    SecurityConfig: NotRequired[AutoMLSecurityConfig]
    CandidateGenerationConfig: NotRequired[AutoMLCandidateGenerationConfig]
    DataSplitConfig: NotRequired[AutoMLDataSplitConfig]
    Mode: NotRequired[AutoMLMode]


class AutoMLJobObjective(TypedDict):
    """AutoMLJobObjective of the service model."""

    MetricName: AutoMLMetricEnum


class AutoMLJobSummary(TypedDict):
    """AutoMLJobSummary of the service model."""

    AutoMLJobName: str
    AutoMLJobArn: str
    AutoMLJobStatus: AutoMLJobStatus
    AutoMLJobSecondaryStatus: AutoMLJobSecondaryStatus
    CreationTime: datetime
    EndTime: NotRequired[datetime]
    LastModifiedTime: datetime
    FailureReason: NotRequired[str]
    PartialFailureReasons: NotRequired[Sequence[AutoMLPartialFailureReason]]


class AutoMLOutputDataConfig(TypedDict):
    """AutoMLOutputDataConfig of the service model."""

    KmsKeyId: NotRequired[str]
    S3OutputPath: str


class AutoMLPartialFailureReason(TypedDict):
    """AutoMLPartialFailureReason of the service model."""

    PartialFailureMessage: NotRequired[str]


class AutoMLProblemTypeConfig(TypedDict):
    """AutoMLProblemTypeConfig of the service model."""

    ImageClassificationJobConfig: NotRequired[ImageClassificationJobConfig]
    TextClassificationJobConfig: NotRequired[TextClassificationJobConfig]
    TimeSeriesForecastingJobConfig: NotRequired[TimeSeriesForecastingJobConfig]
    TabularJobConfig: NotRequired[TabularJobConfig]
    TextGenerationJobConfig: NotRequired[TextGenerationJobConfig]


class AutoMLProblemTypeResolvedAttributes(TypedDict):
    """AutoMLProblemTypeResolvedAttributes of the service model."""

    TabularResolvedAttributes: NotRequired[TabularResolvedAttributes]
    TextGenerationResolvedAttributes: NotRequired[TextGenerationResolvedAttributes]


class AutoMLResolvedAttributes(TypedDict):
    """AutoMLResolvedAttributes of the service model."""

    AutoMLJobObjective: NotRequired[AutoMLJobObjective]
    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]
    AutoMLProblemTypeResolvedAttributes: NotRequired[AutoMLProblemTypeResolvedAttributes]


class AutoMLS3DataSource(TypedDict):
    """AutoMLS3DataSource of the service model."""

    S3DataType: AutoMLS3DataType
    S3Uri: str


class AutoMLSecurityConfig(TypedDict):
    """AutoMLSecurityConfig of the service model."""

    VolumeKmsKeyId: NotRequired[str]
    EnableInterContainerTrafficEncryption: NotRequired[bool]
    VpcConfig: NotRequired[VpcConfig]


class CandidateArtifactLocations(TypedDict):
    """CandidateArtifactLocations of the service model."""

    Explainability: str
    ModelInsights: NotRequired[str]
    BacktestResults: NotRequired[str]


class CandidateGenerationConfig(TypedDict):
    """CandidateGenerationConfig of the service model."""

    AlgorithmsConfig: NotRequired[Sequence[AutoMLAlgorithmConfig]]


class CandidateProperties(TypedDict):
    """CandidateProperties of the service model."""

    CandidateArtifactLocations: NotRequired[CandidateArtifactLocations]
    CandidateMetrics: NotRequired[Sequence[MetricDatum]]


class CreateAutoMLJobRequest(TypedDict):
    """CreateAutoMLJobRequest of the service model."""

    AutoMLJobName: str
    InputDataConfig: Sequence[AutoMLChannel]
    OutputDataConfig: AutoMLOutputDataConfig
    ProblemType: NotRequired[ProblemType]
    AutoMLJobObjective: NotRequired[AutoMLJobObjective]
    AutoMLJobConfig: NotRequired[AutoMLJobConfig]
    RoleArn: str
    GenerateCandidateDefinitionsOnly: NotRequired[bool]
    Tags: NotRequired[Sequence[Tag]]
    ModelDeployConfig: NotRequired[ModelDeployConfig]


class CreateAutoMLJobResponse(TypedDict):
    """CreateAutoMLJobResponse of the service model."""

    AutoMLJobArn: str


class CreateAutoMLJobV2Request(TypedDict):
    """CreateAutoMLJobV2Request of the service model."""

    AutoMLJobName: str
    AutoMLJobInputDataConfig: Sequence[AutoMLJobChannel]
    OutputDataConfig: AutoMLOutputDataConfig
    AutoMLProblemTypeConfig: AutoMLProblemTypeConfig
    RoleArn: str
    Tags: NotRequired[Sequence[Tag]]
    SecurityConfig: NotRequired[AutoMLSecurityConfig]
    AutoMLJobObjective: NotRequired[AutoMLJobObjective]
    ModelDeployConfig: NotRequired[ModelDeployConfig]
    DataSplitConfig: NotRequired[AutoMLDataSplitConfig]
    AutoMLComputeConfig: NotRequired[AutoMLComputeConfig]


class CreateAutoMLJobV2Response(TypedDict):
    """CreateAutoMLJobV2Response of the service model."""

    AutoMLJobArn: str


class DeleteTagsInput(TypedDict):
    """DeleteTagsInput of the service model."""

    ResourceArn: str
    TagKeys: Sequence[str]


class DeleteTagsOutput(TypedDict):
    """DeleteTagsOutput of the service model."""


class DescribeAutoMLJobRequest(TypedDict):
    """DescribeAutoMLJobRequest of the service model."""

    AutoMLJobName: str


class DescribeAutoMLJobResponse(TypedDict):
    """DescribeAutoMLJobResponse of the service model."""

    AutoMLJobName: str
    AutoMLJobArn: str
    InputDataConfig: Sequence[AutoMLChannel]
    OutputDataConfig: AutoMLOutputDataConfig
    RoleArn: str
    AutoMLJobObjective: NotRequired[AutoMLJobObjective]
    ProblemType: NotRequired[ProblemType]
    AutoMLJobConfig: NotRequired[AutoMLJobConfig]
    CreationTime: datetime
    EndTime: NotRequired[datetime]
    LastModifiedTime: datetime
    FailureReason: NotRequired[str]
    PartialFailureReasons: NotRequired[Sequence[AutoMLPartialFailureReason]]
    BestCandidate: NotRequired[AutoMLCandidate]
    AutoMLJobStatus: AutoMLJobStatus
    AutoMLJobSecondaryStatus: AutoMLJobSecondaryStatus
    GenerateCandidateDefinitionsOnly: NotRequired[bool]
    AutoMLJobArtifacts: NotRequired[AutoMLJobArtifacts]
    ResolvedAttributes: NotRequired[ResolvedAttributes]
    ModelDeployConfig: NotRequired[ModelDeployConfig]
    ModelDeployResult: NotRequired[ModelDeployResult]


class DescribeAutoMLJobV2Request(TypedDict):
    """DescribeAutoMLJobV2Request of the service model."""

    AutoMLJobName: str


class DescribeAutoMLJobV2Response(TypedDict):
    """DescribeAutoMLJobV2Response of the service model."""

    AutoMLJobName: str
    AutoMLJobArn: str
    AutoMLJobInputDataConfig: Sequence[AutoMLJobChannel]
    OutputDataConfig: AutoMLOutputDataConfig
    RoleArn: str
    AutoMLJobObjective: NotRequired[AutoMLJobObjective]
    AutoMLProblemTypeConfig: NotRequired[AutoMLProblemTypeConfig]
    AutoMLProblemTypeConfigName: NotRequired[AutoMLProblemTypeConfigName]
    CreationTime: datetime
    EndTime: NotRequired[datetime]
    LastModifiedTime: datetime
    FailureReason: NotRequired[str]
    PartialFailureReasons: NotRequired[Sequence[AutoMLPartialFailureReason]]
    BestCandidate: NotRequired[AutoMLCandidate]
    AutoMLJobStatus: AutoMLJobStatus
    AutoMLJobSecondaryStatus: AutoMLJobSecondaryStatus
    AutoMLJobArtifacts: NotRequired[AutoMLJobArtifacts]
    ResolvedAttributes: NotRequired[AutoMLResolvedAttributes]
    ModelDeployConfig: NotRequired[ModelDeployConfig]
    ModelDeployResult: NotRequired[ModelDeployResult]
    DataSplitConfig: NotRequired[AutoMLDataSplitConfig]
    SecurityConfig: NotRequired[AutoMLSecurityConfig]
    AutoMLComputeConfig: NotRequired[AutoMLComputeConfig]


class EmrServerlessComputeConfig(TypedDict):
    """EmrServerlessComputeConfig of the service model."""

    ExecutionRoleARN: str


class FinalAutoMLJobObjectiveMetric(TypedDict):
    """FinalAutoMLJobObjectiveMetric of the service model."""

    Type: NotRequired[AutoMLJobObjectiveType]
    MetricName: AutoMLMetricEnum
    Value: float
    StandardMetricName: NotRequired[AutoMLMetricEnum]


class HolidayConfigAttributes(TypedDict):
    """HolidayConfigAttributes of the service model."""

    CountryCode: NotRequired[str]


class ImageClassificationJobConfig(TypedDict):
    """ImageClassificationJobConfig of the service model."""

    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]


class ListAutoMLJobsRequest(TypedDict):
    """ListAutoMLJobsRequest of the service model."""

    CreationTimeAfter: NotRequired[datetime]
    CreationTimeBefore: NotRequired[datetime]
    LastModifiedTimeAfter: NotRequired[datetime]
    LastModifiedTimeBefore: NotRequired[datetime]
    NameContains: NotRequired[str]
    StatusEquals: NotRequired[AutoMLJobStatus]
    SortOrder: NotRequired[AutoMLSortOrder]
    SortBy: NotRequired[AutoMLSortBy]
    MaxResults: NotRequired[int]
    NextToken: NotRequired[str]


class ListAutoMLJobsResponse(TypedDict):
    """ListAutoMLJobsResponse of the service model."""

    AutoMLJobSummaries: Sequence[AutoMLJobSummary]
    NextToken: NotRequired[str]


class ListCandidatesForAutoMLJobRequest(TypedDict):
    """ListCandidatesForAutoMLJobRequest of the service model."""

    AutoMLJobName: str
    StatusEquals: NotRequired[CandidateStatus]
    CandidateNameEquals: NotRequired[str]
    SortOrder: NotRequired[AutoMLSortOrder]
    SortBy: NotRequired[CandidateSortBy]
    MaxResults: NotRequired[int]
    NextToken: NotRequired[str]


class ListCandidatesForAutoMLJobResponse(TypedDict):
    """ListCandidatesForAutoMLJobResponse of the service model."""

    Candidates: Sequence[AutoMLCandidate]
    NextToken: NotRequired[str]


class ListTagsInput(TypedDict):
    """ListTagsInput of the service model."""

    ResourceArn: str
    NextToken: NotRequired[str]
    MaxResults: NotRequired[int]


class ListTagsOutput(TypedDict):
    """ListTagsOutput of the service model."""

    Tags: NotRequired[Sequence[Tag]]
    NextToken: NotRequired[str]


class MetricDatum(TypedDict):
    """MetricDatum of the service model."""

    MetricName: NotRequired[AutoMLMetricEnum]
    StandardMetricName: NotRequired[AutoMLMetricExtendedEnum]
    Value: NotRequired[float]
    Set: NotRequired[MetricSetSource]


class ModelAccessConfig(TypedDict):
    """ModelAccessConfig of the service model."""

    AcceptEula: bool


class ModelDeployConfig(TypedDict):
    """ModelDeployConfig of the service model."""

    AutoGenerateEndpointName: NotRequired[bool]
    EndpointName: NotRequired[str]


class ModelDeployResult(TypedDict):
    """ModelDeployResult of the service model."""

    EndpointName: NotRequired[str]


class ResolvedAttributes(TypedDict):
    """ResolvedAttributes of the service model."""

    AutoMLJobObjective: NotRequired[AutoMLJobObjective]
    ProblemType: NotRequired[ProblemType]
    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]


class StopAutoMLJobRequest(TypedDict):
    """StopAutoMLJobRequest of the service model."""

    AutoMLJobName: str


class TabularJobConfig(TypedDict):
    """TabularJobConfig of the service model."""

    CandidateGenerationConfig: NotRequired[CandidateGenerationConfig]
    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]
    FeatureSpecificationS3Uri: NotRequired[str]
    Mode: NotRequired[AutoMLMode]
    GenerateCandidateDefinitionsOnly: NotRequired[bool]
    ProblemType: NotRequired[ProblemType]
    TargetAttributeName: str
    SampleWeightAttributeName: NotRequired[str]


class TabularResolvedAttributes(TypedDict):
    """TabularResolvedAttributes of the service model."""

    ProblemType: NotRequired[ProblemType]


class Tag(TypedDict):
    """Tag of the service model."""

    Key: str
    Value: str


class TextClassificationJobConfig(TypedDict):
    """TextClassificationJobConfig of the service model."""

    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]
    ContentColumn: str
    TargetLabelColumn: str


class TextGenerationJobConfig(TypedDict):
    """TextGenerationJobConfig of the service model."""

    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]
    BaseModelName: NotRequired[str]
    TextGenerationHyperParameters: NotRequired[Mapping[str, str]]
    ModelAccessConfig: NotRequired[ModelAccessConfig]


class TextGenerationResolvedAttributes(TypedDict):
    """TextGenerationResolvedAttributes of the service model."""

    BaseModelName: NotRequired[str]


class TimeSeriesConfig(TypedDict):
    """TimeSeriesConfig of the service model."""

    TargetAttributeName: str
    TimestampAttributeName: str
    ItemIdentifierAttributeName: str
    GroupingAttributeNames: NotRequired[Sequence[str]]


class TimeSeriesForecastingJobConfig(TypedDict):
    """TimeSeriesForecastingJobConfig of the service model."""

    FeatureSpecificationS3Uri: NotRequired[str]
    CompletionCriteria: NotRequired[AutoMLJobCompletionCriteria]
    ForecastFrequency: str
    ForecastHorizon: int
    ForecastQuantiles: NotRequired[Sequence[str]]
    Transformations: NotRequired[TimeSeriesTransformations]
    TimeSeriesConfig: TimeSeriesConfig
    HolidayConfig: NotRequired[Sequence[HolidayConfigAttributes]]
    CandidateGenerationConfig: NotRequired[CandidateGenerationConfig]


class TimeSeriesTransformations(TypedDict):
    """TimeSeriesTransformations of the service model."""

    Filling: NotRequired[Mapping[str, Mapping[FillingType, str]]]
    Aggregation: NotRequired[Mapping[str, AggregationTransformationValue]]


class VpcConfig(TypedDict):
    """VpcConfig of the service model."""

    SecurityGroupIds: Sequence[str]
    Subnets: Sequence[str]
